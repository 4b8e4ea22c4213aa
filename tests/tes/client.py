"""py-tes, an independent client, against the test service: if it is served well, the service is a fair stand-in."""

import sys

import tes

client = tes.HTTPClient(sys.argv[1], timeout=20, token=sys.argv[2])
info = client.get_service_info()
assert info.type["artifact"] == "tes", info
task = tes.Task(
    name="py-tes",
    executors=[tes.Executor(image="any", command=["/bin/sh", "-c", "echo said >&2; exit 3"])],
    resources=tes.Resources(cpu_cores=1, ram_gb=0.5, disk_gb=1.0, preemptible=False),
    inputs=[tes.Input(path="/wakachi/note", content="x")],
    tags={"who": "py-tes"},
)
name = client.create_task(task)
done = client.wait(name, timeout=20)
assert done.state == "EXECUTOR_ERROR", done
full = client.get_task(name, view="FULL")
assert full.logs[0].logs[0].exit_code == 3 and "said" in full.logs[0].logs[0].stderr, full
names = [task.id for task in client.list_tasks(view="BASIC", page_size=10).tasks]
assert name in names, names
client.cancel_task(name)
print("served")
