"""Tests in the lab: real strongSwan on both ends, in network namespaces of their own. They need root."""
