//! The other side for the tests: see the package description.
