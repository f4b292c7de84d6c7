package dev.holdfast.client;

/**
 * One attempt of a call, as an observer sees it.
 *
 * @param number from 0
 * @param status null where no answer came
 * @param requestId the core's name for the request; null where there is none
 * @param replayed whether the answer is the stored one of an earlier request
 */
public record Attempt(String method, String path, int number, Integer status, String requestId, boolean replayed) {}
