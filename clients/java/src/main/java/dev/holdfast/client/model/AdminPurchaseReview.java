package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** Why the purchase is or was under review. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record AdminPurchaseReview(
    @JsonProperty("reasons") List<String> reasons,
    /** Null once it is decided */
    @JsonProperty("deadline") String deadline) {
}
