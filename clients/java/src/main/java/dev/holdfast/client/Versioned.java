package dev.holdfast.client;

/** Terms with their entity tag: pass it in {@link Conditions#ifMatch(String)} to change only what you read. */
public record Versioned<T>(T value, String etag) {}
