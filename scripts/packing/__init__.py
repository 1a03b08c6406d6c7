"""Makes what a release hands out: wheel, source, .deb, and a tarball that rpmbuild takes."""
