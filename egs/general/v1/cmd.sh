# Sourced by run.sh: what starts the heavy commands, unless --cmd says otherwise.  Anything with the calling shape of
# Kaldi's run.pl will do; on a cluster, for example, "slurm.pl --mem 8G" of a Kaldi installation.
# shellcheck shell=bash disable=SC2034
cmd=run_job
