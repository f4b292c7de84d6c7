//! Owns asking the HTTP threads for a sign of life.
//!
//! Invariants: a thread answers when it next runs a task, so one that waits for connections answers
//! at once and one that is stuck never does; a question that is open is not asked again, so what
//! waits in a stuck thread's queue is bounded. Used by `cli`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;

/// The threads to ask.
#[derive(Debug)]
pub struct Pulse {
    threads: Vec<AskedThread>,
}

#[derive(Debug)]
struct AskedThread {
    runtime: Handle,
    /// Whether the last question is answered.
    answered: Arc<AtomicBool>,
}

impl Pulse {
    /// Asks the threads of these runtimes.
    pub(super) fn of(runtimes: &[Handle]) -> Self {
        let asked = |runtime: &Handle| AskedThread {
            runtime: runtime.clone(),
            answered: Arc::new(AtomicBool::new(true)),
        };
        Self {
            threads: runtimes.iter().map(asked).collect(),
        }
    }

    /// Asks each thread that has answered the question before.
    pub fn ask(&self) {
        for thread in &self.threads {
            if thread.answered.swap(false, Ordering::Relaxed) {
                let answered = Arc::clone(&thread.answered);
                let answer = async move { answered.store(true, Ordering::Relaxed) };
                drop(thread.runtime.spawn(answer));
            }
        }
    }

    /// Whether every thread has answered.
    pub fn is_answered(&self) -> bool {
        let answers = |it: &AskedThread| it.answered.load(Ordering::Relaxed);
        self.threads.iter().all(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_that_is_stuck_does_not_answer_until_it_runs_again() {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.build().unwrap()
        };
        let (stuck, free) = (runtime(), runtime());
        let pulse = Pulse::of(&[stuck.handle().clone(), free.handle().clone()]);
        assert!(pulse.is_answered(), "nothing was asked");
        let (go_on, held) = channel::<()>();
        let (tell, is_held) = channel();
        stuck.spawn(async move {
            tell.send(()).unwrap();
            held.recv().unwrap();
        });
        std::thread::scope(|scope| {
            let running = scope.spawn(|| stuck.block_on(tokio::task::yield_now()));
            is_held.recv().unwrap();
            pulse.ask();
            free.block_on(tokio::task::yield_now());
            assert!(!pulse.is_answered(), "one thread is stuck");
            go_on.send(()).unwrap();
            running.join().unwrap();
        });
        stuck.block_on(tokio::task::yield_now());
        assert!(pulse.is_answered());
    }
}
