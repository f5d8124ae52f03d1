"""Records: data directories, their checks and operations, trial lists."""
