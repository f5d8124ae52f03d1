"""Commands: thin; each parses, makes one library call, and prints.

This table is the only list of commands: `setup.py` makes console scripts of it, `bin/` holds one shim for
each, and the tests hold the README and the help texts against it.  The module is `sv_toolkit.cli.<value>`,
its click command is called `command`.
"""

COMMANDS = {
    "sv-make-data": "make_data",
    "sv-validate-data": "validate_data",
    "sv-fix-data": "fix_data",
    "sv-combine-data": "combine_data",
    "sv-subset-data": "subset_data",
    "sv-split-data": "split_data",
    "sv-perturb-speed": "perturb_speed",
    "sv-make-trials": "make_trials",
    "sv-check-trials": "check_trials",
    "sv-extract-fbank": "extract_fbank",
    "sv-extract-mfcc": "extract_mfcc",
    "sv-compute-vad": "compute_vad",
    "sv-extract-control": "extract_control",
    "sv-index-features": "index_features",
    "sv-train": "train",
    "sv-extract-dvector": "extract_dvector",
    "sv-train-ivector": "train_ivector",
    "sv-extract-ivector": "extract_ivector",
    "sv-enroll": "enroll",
    "sv-store": "store",
    "sv-verify": "verify",
    "sv-identify": "identify",
    "sv-train-backend": "train_backend",
    "sv-adapt-backend": "adapt_backend",
    "sv-copy-plda": "copy_plda",
    "sv-score": "score",
    "sv-eval": "evaluate",
    "sv-eval-identification": "evaluate_identification",
    "sv-normalize-scores": "normalize_scores",
    "sv-calibrate": "calibrate",
    "sv-fuse": "fuse",
    "sv-report": "report",
    "sv-tabulate": "tabulate",
    "sv-info": "info",
    "sv-export": "export",
}
