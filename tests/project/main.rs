//! The project itself: imports between rooms, and documents against the running process.

mod architecture;
mod circles;
mod clients;
mod openapi;
mod readme;
mod shape;
