//! A cohort file that sets nothing is called as the plain filters call.

use jobs::parameters::Parameters;

#[test]
fn defaults_of_the_cohort_file_are_those_of_the_callers() {
    let stated = Parameters::default();
    let call = kernels::call::CallOptions::default();
    let joint = kernels::joint::Options::default();
    assert_eq!(
        (stated.max_depth, stated.min_mapq, stated.min_base_quality),
        (call.depth_max, call.mapq_min, call.quality_min)
    );
    assert_eq!(u32::from(stated.min_qual) * 10, call.quality_tenths_min);
    assert_eq!(u32::from(stated.min_qual_joint) * 10, joint.low_quality_tenths);
}
