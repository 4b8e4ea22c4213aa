//! Lines of our own dialect, of others', and lines to refuse.

use jobs::genome::Contig;

use super::*;

fn contigs() -> Contigs {
    Contigs::new(vec![Contig { name: "20".into(), length: 1000, m5: [0; 16] }])
}

fn parse(columns: &str) -> Result<Call, LineProblem> {
    parse_line(columns.replace(' ', "\t").as_bytes(), &contigs()).map(|(_, call)| call)
}

/// A block as text: span, answer, DP, MIN_DP, GQ, PL.
fn block(columns: &str) -> String {
    match parse(columns) {
        Ok(Call::Block(b)) => format!(
            "{}-{} {:?} {} {} {} {:?}",
            b.start, b.end, b.answer, b.depth, b.depth_min, b.genotype_quality, b.likelihoods
        ),
        other => panic!("{columns}: {other:?}"),
    }
}

fn site(columns: &str) -> SiteCall {
    match parse(columns) {
        Ok(Call::Site(site)) => site,
        other => panic!("{columns}: {other:?}"),
    }
}

#[test]
fn blocks_of_every_dialect_state_their_confidence() {
    let check = |columns: &str, expect: &str| assert_eq!(block(columns), expect, "{columns}");
    check(
        "20 11 . A <NON_REF> . . END=20 GT:DP:GQ:MIN_DP:PL 0/0:14:36:13:0,36,540",
        "10-20 Reference 14 13 36 [0, 36, 540]",
    );
    check(
        "20 11 . N <NON_REF> . . END=20;NODATA=REFERENCE_UNKNOWN GT:DP:GQ:MIN_DP:PL ./.:0:0:0:0,0,0",
        "10-20 ReferenceUnknown 0 0 0 [0, 0, 0]",
    );
    // GATK without data, DeepVariant without DP, Strelka with GQX alone, xAtlas without GQ, weCall phased without PL.
    check("20 11 . A <NON_REF> . . END=20 GT:DP:GQ:PL ./.:0:0:0,0,0", "10-20 NoReads 0 0 0 [0, 0, 0]");
    check(
        "20 11 . T <*> 0 . END=20 GT:GQ:MIN_DP:PL 0/0:50:68:0,264,2639",
        "10-20 Reference 68 68 50 [0, 264, 2639]",
    );
    check(
        "20 11 . C . . HighDepth END=20;BLOCKAVG_min30p3a GT:GQX:DP:DPF 0/0:641:214:0",
        "10-20 Reference 214 214 99 [0, 99, 99]",
    );
    check("20 11 . C . . . END=20 GT:DP:GQ:PL 0/0:4:.:0,42,177", "10-20 Reference 4 4 42 [0, 42, 177]");
    check(
        "20 11 . A <NON_REF> 69 PASS END=20 GT:DP:MIN_DP:GQ 0|0:52:35:69",
        "10-20 Reference 52 35 69 [0, 69, 69]",
    );
    // One haploid copy; a stretch within a deletion; no END; the last base.
    check("20 11 . A . . . . GT:GQX:DP 0:92:21", "10-11 Reference 21 21 92 [0, 92, 92]");
    check("20 11 . G . . . END=11 GT:DP:PL 1/1:26:659,47,0", "10-11 NoUsableReads 26 26 0 [659, 47, 0]");
    check("20 11 . TCC <NON_REF> . . . GT:DP:GQ 0/0:9:20", "10-13 Reference 9 9 20 [0, 20, 20]");
    check("20 1000 . r <NON_REF> . . END=1000 GT:DP:GQ 0/0:9:20", "999-1000 Reference 9 9 20 [0, 20, 20]");
}

#[test]
fn sites_of_others_get_what_they_leave_out() {
    let gatk = site(
        "20 11 rs1 TA T,<NON_REF> 30.64 . DP=12;MQ=31.36 GT:AD:DP:GQ:PL:SB 0/1:10,2,0:12:16:16,0,240,46,246,292:1,9,1,1",
    );
    assert_eq!((gatk.position, gatk.quality_tenths, gatk.mapq_rms_tenths), (10, 306, 314));
    assert_eq!((gatk.genotype, gatk.strand_counts), (Some([0, 1]), [1, 9, 1, 1]));

    // No <NON_REF>: unseen alleles are as unlikely as the unlikeliest genotype.
    let strelka = site("20 11 . a g 274 LowGQXHetSNP SNVSB=-22 GT:GQ:GQX:AD:PL 0/1:307:0:150,70:308,0,370");
    assert_eq!(strelka.likelihoods, [308, 0, 370, 370, 370, 370]);
    assert_eq!((strelka.allele_depths, strelka.depth, strelka.genotype_quality), (vec![150, 70, 0], 220, 99));
    assert_eq!((strelka.reference, strelka.filters), (b"A".to_vec(), vec![]));

    // No PL: the called genotype is GQ better than the others. No AD, no GQ either: nothing is known.
    let bare = site("20 11 . A G,<NON_REF> . PASS . GT:GQ 1|0:20");
    assert_eq!((bare.likelihoods, bare.genotype), (vec![20, 0, 20, 20, 20, 20], Some([1, 0])));
    assert_eq!(site("20 11 . A G . PASS . GT 0/1").likelihoods, [0; 6]);

    // Haploid likelihoods, half-called genotypes, spanning deletions, Strelka's own SB.
    let haploid = site("20 11 . A T 92 PASS MQ=39 GT:GQ:DP:AD:SB:PL 1:153:21:5,16:14.2:158,0");
    assert_eq!((haploid.genotype, haploid.strand_counts), (Some([1, 1]), [0; 4]));
    assert_eq!(haploid.likelihoods, [158, 158, 0, 158, 158, 158]);
    assert_eq!(site("20 11 . CT C 409 PASS . GT:PL:AD 1|.:454,0,538:1,27").genotype, None);
    let spanning = site("20 11 . C *,A,<NON_REF> 9 . . GT:PL 0/1:381,0,163,479,277,1483,477,275,1122,1044");
    assert_eq!(spanning.alternates, [b"*".to_vec(), b"A".to_vec()]);

    // Phase sets are kept with a phased genotype only.
    assert_eq!(site("20 11 . A G . . . GT:PS 0|1:11").phase_set, Some(10));
    assert_eq!(site("20 11 . A G . . . GT:PS 0/1:11").phase_set, None);
}

#[test]
fn lines_that_contradict_themselves_are_refused() {
    let check = |columns: &str, expect: &str| {
        let problem = parse(columns).unwrap_err().to_string();
        assert!(problem.contains(expect), "{columns}: {problem}");
    };
    check("20 11 . A <NON_REF> . . END=20 GT", "9 columns");
    check("20 11 . A <NON_REF> . . END=20 GT 0/0 0/0", "11 columns");
    check("21 11 . A <NON_REF> . . END=20 GT 0/0", "contig '21' is not in the reference");
    check("20 0 . A <NON_REF> . . END=20 GT 0/0", "POS or END");
    check("20 11 . A <NON_REF> . . END=10 GT 0/0", "POS or END");
    check("20 11 . A <NON_REF> . . END=1001 GT 0/0", "POS or END");
    check("20 1000 . AC A . . . GT 0/1", "POS or END");
    check("20 x . A G . . . GT 0/1", "POS 'x'");
    check("20 4294967297 . A G . . . GT 0/1", "POS '4294967297'");
    check("20 11 . AXG A . . . GT 0/1", "allele 'AXG'");
    for alternates in ["<DEL>", "A]20:30]", "A", "G,G", "*,*", "G,", "<NON_REF>,G", "R"] {
        check(&format!("20 11 . A {alternates} . . . GT 0/1"), "allele '");
    }
    let many: Vec<String> = (1..=101).map(|bases| "C".repeat(bases)).collect();
    check(&format!("20 11 . A {} . . . GT 0/1", many.join(",")), "101 alternates");
    check("20 11 . A G . . . GT 0/2", "GT '0/2'");
    check("20 11 . A G . . . GT 0/0/1", "GT '0/0/1'");
    check("20 11 . A G . . . GT:PL 0/1:1,0", "PL has 2 values, expected 3");
    check("20 11 . A G,<NON_REF> . . . GT:AD 0/1:9,9", "AD has 2 values, expected 3");
    check("20 11 . A G . . . GT:SB 0/1:1,2,3", "SB has 3 values, expected 4");
    check("20 11 . A G . . . GT:PL 0/1:-1,0,9", "PL '-1'");
    check("20 11 . A G nan . . GT 0/1", "QUAL 'nan'");
    check("20 11 . A G -3 . . GT 0/1", "QUAL '-3'");
    check("20 11 . A G 1e300 . . GT 0/1", "QUAL '1e300'");
    check("20 11 . A <NON_REF> . . END=20;NODATA=LUNCH GT ./.", "NODATA 'LUNCH'");
}
