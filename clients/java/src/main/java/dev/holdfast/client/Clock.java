package dev.holdfast.client;

import java.time.Duration;

/** What waits; a test has its own. */
public interface Clock {
    /** Nanoseconds that only grow. */
    long nanoTime();

    void sleep(Duration wait) throws InterruptedException;

    /** The clock of this machine. */
    static Clock system() {
        return new Clock() {
            @Override
            public long nanoTime() {
                return System.nanoTime();
            }

            @Override
            public void sleep(Duration wait) throws InterruptedException {
                Thread.sleep(wait.toMillis(), wait.toNanosPart() % 1_000_000);
            }
        };
    }
}
