package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyOrder(
    @JsonProperty("user_id") String userId,
    @JsonProperty("product_id") String productId,
    @JsonProperty("quantity") long quantity,
    @JsonProperty("currency") String currency,
    /** The gateway's token. A card number is refused and never stored; see docs/security.md */
    @JsonProperty("card_token") String cardToken,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("promotion_code") String promotionCode,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("hold_id") String holdId,
    /** IPv4 or IPv6. Counted in canonical form: IPv4-mapped IPv6 as IPv4, other IPv6 by its /64. Stored as sent */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("ip") String ip,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("device_id") String deviceId,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("metadata") Map<String, String> metadata) {
    /** With the fields that are required; null in place of one means none. */
    public static BuyOrder of(String userId, String productId, long quantity, String currency, String cardToken) {
        return new BuyOrder(userId, productId, quantity, currency, cardToken, null, null, null, null, null);
    }

    public BuyOrder withPromotionCode(String promotionCode) {
        return new BuyOrder(userId, productId, quantity, currency, cardToken, promotionCode, holdId, ip, deviceId, metadata);
    }

    public BuyOrder withHoldId(String holdId) {
        return new BuyOrder(userId, productId, quantity, currency, cardToken, promotionCode, holdId, ip, deviceId, metadata);
    }

    public BuyOrder withIp(String ip) {
        return new BuyOrder(userId, productId, quantity, currency, cardToken, promotionCode, holdId, ip, deviceId, metadata);
    }

    public BuyOrder withDeviceId(String deviceId) {
        return new BuyOrder(userId, productId, quantity, currency, cardToken, promotionCode, holdId, ip, deviceId, metadata);
    }

    public BuyOrder withMetadata(Map<String, String> metadata) {
        return new BuyOrder(userId, productId, quantity, currency, cardToken, promotionCode, holdId, ip, deviceId, metadata);
    }
}
