//! What applications are promised of the dialect, and what a provider may do to us.
