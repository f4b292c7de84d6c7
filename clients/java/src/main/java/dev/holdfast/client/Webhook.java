package dev.holdfast.client;

/**
 * A genuine webhook.
 *
 * @param id its {@code webhook-id}, or its nonce
 * @param timestamp Unix seconds
 * @param body as it came
 */
public record Webhook(String id, long timestamp, byte[] body) {}
