"""Made-up originals of ImageNet."""

from workloads.imagenet.sample import write_originals as write_originals
