// Package deploy has the tests of what installs Countersign: INSTALL.md says what there
// is, and dist.mk how it is made. `make test-ops` makes it and runs the tests.
//
// It is a module of its own, so that what builds images and reads charts does not decide
// which versions of libraries the server has.
package deploy
