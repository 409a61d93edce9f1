"""HDF5 files that are damaged, and disks that are full: what the HDF5 library does not survive in this process."""
