//! The admin port: the API over the archive.

pub mod settings;

pub use settings::AdminSettings;
