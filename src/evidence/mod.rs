//! What was really sent, recomputed from the archive and proven by its digest.
//!
//! `dispatch` renders with the same function as whoever asks years later, from the record alone, so
//! the two can not differ. Relayed bytes are stored nowhere.

mod renderer;
mod rendition;

pub use renderer::{LinkSettings, RenderSettings, Rendered, Renderer, ReturnKeys};
pub use rendition::{Proof, sent_to, untouched};
