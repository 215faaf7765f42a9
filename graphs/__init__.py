"""What a skeleton is: joints, trees, topologies, streams and augmentations, independent of any model or file format."""
