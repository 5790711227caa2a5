//! The only room that knows how things are stored.

pub mod settings;

pub use settings::ArchiveSettings;
