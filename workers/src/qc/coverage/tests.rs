//! What is counted many at a time beside what is counted one by one.

use super::*;

#[test]
fn depths_are_counted_as_one_by_one() {
    let mut seed = 3u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for (bases, most) in [(0, 1), (31, 9), (5000, 3), (5000, 300), (700, 9000)] {
        let interval = Interval { contig: 2, start: 16_000, end: 16_000 + bases as u32 };
        let mut depth = CellDepth::new(interval);
        // Stretches of one depth and of one kind of base, and places where each differs from the last.
        let (mut now, mut known) = (0, true);
        let depths: Vec<u16> = (0..bases)
            .map(|_| {
                now = if random(40) == 0 { random(most) * random(2) } else { now };
                (now + random(20) / 19) as u16
            })
            .collect();
        let codes: Vec<u8> = (0..bases)
            .map(|_| {
                known = if random(70) == 0 { random(4) > 0 } else { known };
                if known { random(4) as u8 } else { 4 }
            })
            .collect();
        for covered in [false, true] {
            if covered && bases > 0 {
                depth.make_room();
                depth.usable.copy_from_slice(&depths);
                let mut before = 0;
                for (step, &depth) in depth.steps.iter_mut().zip(&depths) {
                    *step = i32::from(depth) - std::mem::replace(&mut before, i32::from(depth));
                }
            }
            let mut counters = CoverageCounters::new(1000);
            counters.add_cell(ContigClass::Autosome, &depth, &codes);
            let mut expect = DepthCounters::default();
            let mut windows: BTreeMap<u32, Stretch> = BTreeMap::new();
            for (at, &code) in codes.iter().enumerate() {
                let depth = if covered { u64::from(depths[at]) } else { 0 };
                let window = windows.entry((16_000 + at as u32) / counters.window_bases).or_default();
                if code < 4 {
                    expect.histogram.add((depth as usize).min(DEPTH_MAX));
                    expect.sum += depth;
                    window.merge(&Stretch { bases: 1, depth_sum: depth });
                }
            }
            let class = &counters.classes[&ContigClass::Autosome];
            assert_eq!((&class.all, &class.usable), (&expect, &expect), "{bases} {most} {covered}");
            assert_eq!(counters.windows[&2], windows, "{bases} {most} {covered}");
        }
    }
}

#[test]
fn an_unnamed_base_is_found_wherever_it_stands() {
    for length in 1..40 {
        // All letters but N, and what fills the last byte.
        let mut packed: Vec<u8> = (0..length).map(|at| [0x18, 0x42, 0xe7, 0x10][at % 4]).collect();
        assert!(are_named(&packed));
        for at in 0..2 * length {
            packed[at / 2] |= 15 << (4 * (at % 2));
            assert!(!are_named(&packed), "{length} {at}");
            packed[at / 2] = 0x18;
        }
    }
}
