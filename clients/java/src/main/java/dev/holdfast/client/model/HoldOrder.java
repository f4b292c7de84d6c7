package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record HoldOrder(
    @JsonProperty("user_id") String userId,
    @JsonProperty("product_id") String productId,
    @JsonProperty("quantity") long quantity,
    /** The currency of the quote; the promotion must apply to it. Absent: the first currency that the promotion applies to. The hold can be paid in any currency of the product */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("currency") String currency,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("promotion_code") String promotionCode,
    /** IPv4 or IPv6 */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("ip") String ip,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("device_id") String deviceId,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("metadata") Map<String, String> metadata) {
    /** With the fields that are required; null in place of one means none. */
    public static HoldOrder of(String userId, String productId, long quantity) {
        return new HoldOrder(userId, productId, quantity, null, null, null, null, null);
    }

    public HoldOrder withCurrency(String currency) {
        return new HoldOrder(userId, productId, quantity, currency, promotionCode, ip, deviceId, metadata);
    }

    public HoldOrder withPromotionCode(String promotionCode) {
        return new HoldOrder(userId, productId, quantity, currency, promotionCode, ip, deviceId, metadata);
    }

    public HoldOrder withIp(String ip) {
        return new HoldOrder(userId, productId, quantity, currency, promotionCode, ip, deviceId, metadata);
    }

    public HoldOrder withDeviceId(String deviceId) {
        return new HoldOrder(userId, productId, quantity, currency, promotionCode, ip, deviceId, metadata);
    }

    public HoldOrder withMetadata(Map<String, String> metadata) {
        return new HoldOrder(userId, productId, quantity, currency, promotionCode, ip, deviceId, metadata);
    }
}
