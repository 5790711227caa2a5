//! What applications are promised of the dialect.
