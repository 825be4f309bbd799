"""Made-up files in ImageNet's original format; see ``workloads.imagenet.sample``."""

from workloads.imagenet.sample import write_originals as write_originals
