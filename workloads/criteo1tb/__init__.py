"""DLRM on the Criteo 1TB click logs."""
