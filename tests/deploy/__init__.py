"""The manifests and the image of `deploy/`, checked without a cluster and without a container engine."""
