# Sourced by run.sh: what starts the heavy commands, unless --cmd says otherwise.  Anything with the calling shape of
# Kaldi's run.pl will do; on a cluster, for example, "slurm_job --mem 8G", or slurm.pl of a Kaldi installation.  With
# anything but plain run_job, stages over utterances are arrays of --nj jobs.
# shellcheck shell=bash disable=SC2034
cmd=run_job
