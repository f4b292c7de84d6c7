//! The project itself: imports between rooms, and documents against the running process.

mod architecture;
mod openapi;
mod readme;
