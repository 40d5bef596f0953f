#!/bin/bash
# merge, killed two hundred times; SEED=N repeats the moments as far as the machine's pace allows.
KILLS=200 SEED=${SEED:-$$} exec bash "$(dirname "$0")/cli_merge.sh"
