//! What a source in the selector's ready list has to report.

use crate::event::Event;

pub(super) enum Noticed {
    Event(Event),
    /// Its registration is level-triggered: the next `select` notices it again.
    LevelEvent(Event),
    Nothing,
    /// It was reported already: the next `select` reports the rest.
    Later,
}
