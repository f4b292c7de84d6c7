//! The holdfast binary: hands its arguments to the library and exits as it says.
#![forbid(unsafe_code)]

/// Answers are made on one thread and often freed on it, too; see `docs/decisions/`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    holdfast::cli::run()
}
