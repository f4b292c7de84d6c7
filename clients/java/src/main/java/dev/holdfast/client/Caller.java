package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;

/**
 * Brings calls to their outcome, with one API key: repeats, waits, polls.
 *
 * <ol>
 *   <li>A keyed call makes its {@code Idempotency-Key} once, and every attempt has the same.
 *   <li>Lost connections and answers that ask for another try are repeated after {@code Retry-After}, or else
 *       after a wait that doubles; both with jitter. A call that is not safe to repeat is repeated only after
 *       429, which comes before anything is done.
 *   <li>202, and 409 {@code idempotency_in_flight} with a {@code Location}, are polled until the outcome is final.
 *   <li>Nothing is sent after the deadline.
 * </ol>
 *
 * <p>Where a connection is lost, the JDK repeats a GET once by itself, at once and unobserved.
 */
final class Caller {
    private static final Duration BACKOFF_FIRST = Duration.ofMillis(200);
    private static final Duration BACKOFF_MAX = Duration.ofSeconds(5);
    private static final Duration POLL_FIRST = Duration.ofMillis(250);
    private static final Duration POLL_MAX = Duration.ofSeconds(3);
    private static final double POLL_GROWTH = 1.6;

    private final String origin;
    private final String prefix;
    private final String apiKey;
    private final Policy policy;
    private final HttpClient client;

    Caller(URI base, String apiKey, Policy policy) {
        boolean isHttp = "http".equals(base.getScheme()) || "https".equals(base.getScheme());
        if (!isHttp || base.getRawAuthority() == null || base.getQuery() != null || base.getFragment() != null) {
            throw new IllegalArgumentException("the base must be http://HOST[:PORT][/PATH] or https://…");
        }
        this.origin = base.getScheme() + "://" + base.getRawAuthority();
        this.prefix = base.getRawPath().replaceAll("/+$", "");
        this.apiKey = apiKey;
        this.policy = policy;
        HttpClient.Builder builder = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(policy.timeout());
        if (policy.tls() != null) {
            builder.sslContext(policy.tls());
        }
        this.client = builder.build();
    }

    /** The answer of a call, whose body is an object. */
    Answer call(Call call) {
        return repeated(call, endsAt(call));
    }

    /** The body of that answer, as a {@code type}. */
    <T> T call(Call call, Class<T> type) {
        return Json.read(call(call).body().orElseThrow(), type);
    }

    /**
     * What a call led to, which is polled until {@code isFinal}. Where that is no {@code isResult}, the request is
     * sent again: its stored answer says why.
     */
    <T> T settled(Call call, Class<T> type, Predicate<JsonNode> isFinal, Predicate<JsonNode> isResult) {
        long endsAt = endsAt(call);
        Answer first = repeated(call, endsAt);
        if (first.status() != 202) {
            return Json.read(first.body().orElseThrow(), type);
        }
        JsonNode state = polled(call, first, isFinal, endsAt);
        if (isResult.test(state)) {
            return Json.read(state, type);
        }
        if ("gateway_unavailable".equals(state.path("reason").asText())) {
            // Its key is free again: the same request would start another payment.
            throw Refused.of(gatewayUnavailable(state, first), call.key(), null);
        }
        Answer stored = repeated(call, endsAt);
        if (stored.status() == 202) {
            throw new Pending(stored.body().orElseThrow(), stored.location().orElse(""), call.key());
        }
        return Json.read(stored.body().orElseThrow(), type);
    }

    private long endsAt(Call call) {
        Duration within = call.deadline() != null ? call.deadline() : policy.deadline();
        return policy.clock().nanoTime() + within.toNanos();
    }

    /** Sends a request until there is an answer to give; in-flight answers come as 202. */
    private Answer repeated(Call call, long endsAt) {
        for (int number = 0; ; number++) {
            Sent sent = attempt(call, number, endsAt);
            Answer answer = sent.answer();
            if (answer != null && answer.isInFlight() && answer.location().isPresent()) {
                return new Answer(202, answer.headers(), answer.body());
            }
            if (answer != null && !answer.asksForAnotherTry() && !answer.isInFlight()) {
                return judged(call, answer);
            }
            Duration wait = wait(answer, BACKOFF_FIRST.multipliedBy(1L << number), BACKOFF_MAX);
            boolean isSafe = call.retry() == Call.Retry.SAFE || (answer != null && answer.status() == 429);
            if (number >= policy.retriesMax() || !isSafe || !fits(wait, endsAt)) {
                if (answer != null) {
                    return judged(call, answer);
                }
                throw unreachable(call, sent.failure());
            }
            sleep(call, wait);
        }
    }

    private JsonNode polled(Call call, Answer first, Predicate<JsonNode> isFinal, long endsAt) {
        JsonNode state = first.body().orElseThrow();
        String location = first.location().orElse("");
        Call poll = Call.get(ownPath(location, call.key()));
        Answer last = first;
        for (double step = POLL_FIRST.toNanos(); ; step *= POLL_GROWTH) {
            Duration wait = wait(last, Duration.ofNanos((long) Math.min(step, POLL_MAX.toNanos())), POLL_MAX);
            if (!fits(wait, endsAt)) {
                throw new Pending(state, location, call.key());
            }
            sleep(call, wait);
            last = attempt(poll, 0, endsAt).answer();
            if (last == null || last.asksForAnotherTry()) {
                continue;
            }
            state = judged(new Call("GET", poll.path(), null, poll.headers(), call.key(), poll.retry(), null), last)
                .body().orElseThrow();
            if (isFinal.test(state)) {
                return state;
            }
        }
    }

    /** The path of a {@code Location}, which the API key is sent to: only of this server. */
    private String ownPath(String location, String key) {
        String path = location.startsWith(origin) ? location.substring(origin.length()) : location;
        if (!path.startsWith("/") || path.startsWith("//")) {
            throw new ProtocolException("Location \"" + location + "\" is not a path of this server", key);
        }
        return path;
    }

    /** What came of an attempt: an answer, or why there is none. */
    private record Sent(Answer answer, Throwable failure) {}

    private Sent attempt(Call call, int number, long endsAt) {
        long left = Math.max(endsAt - policy.clock().nanoTime(), 1_000_000);
        long timeout = Math.min(policy.timeout().toNanos(), left);
        CompletableFuture<HttpResponse<byte[]>> sending = client.sendAsync(request(call), BodyHandlers.ofByteArray());
        Sent sent;
        try {
            HttpResponse<byte[]> response = sending.get(timeout, TimeUnit.NANOSECONDS);
            sent = new Sent(new Answer(response.statusCode(), response.headers(), Json.parse(response.body())), null);
        } catch (TimeoutException late) {
            sending.cancel(true);
            sent = new Sent(null, late);
        } catch (ExecutionException lost) {
            sent = new Sent(null, lost.getCause());
        } catch (InterruptedException interrupted) {
            sending.cancel(true);
            throw interrupted(call, interrupted);
        }
        policy.observer().accept(observed(call, number, sent.answer()));
        return sent;
    }

    private HttpRequest request(Call call) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(origin + prefix + call.path()))
            .setHeader("Authorization", "Bearer " + apiKey)
            .setHeader("Accept", "application/json");
        if (call.body() == null) {
            request.method(call.method(), BodyPublishers.noBody());
        } else {
            request.method(call.method(), BodyPublishers.ofByteArray(Json.write(call.body())));
            request.setHeader("Content-Type", "application/json");
        }
        call.headers().forEach(request::setHeader);
        if (call.key() != null) {
            request.setHeader("Idempotency-Key", call.key());
        }
        return request.build();
    }

    private static Attempt observed(Call call, int number, Answer answer) {
        if (answer == null) {
            return new Attempt(call.method(), call.path(), number, null, null, false);
        }
        String requestId = answer.headers().firstValue("x-request-id").orElse(null);
        boolean replayed = answer.headers().firstValue("idempotent-replayed").filter("true"::equals).isPresent();
        return new Attempt(call.method(), call.path(), number, answer.status(), requestId, replayed);
    }

    private static Answer judged(Call call, Answer answer) {
        if (answer.isResult()) {
            return answer;
        }
        if (answer.reason().isPresent()) {
            ObjectNode facts = JsonNodeFactory.instance.objectNode().put("detail", "").put("request_id", "");
            facts.setAll((ObjectNode) answer.body().orElseThrow());
            facts.put("status", answer.status());
            throw Refused.of(facts, call.key(), answer.retryAfter().orElse(null));
        }
        String sentence = call.method() + " " + call.path() + ": " + answer.status() + " without holdfast's JSON";
        throw new ProtocolException(sentence, call.key());
    }

    /** Until the next attempt: never before {@code Retry-After}, and not all clients at once. */
    private static Duration wait(Answer answer, Duration bound, Duration most) {
        long nanos = Math.min(bound.toNanos(), most.toNanos());
        ThreadLocalRandom random = ThreadLocalRandom.current();
        Optional<Duration> asked = answer == null ? Optional.empty() : answer.retryAfter();
        if (asked.isPresent()) {
            return asked.get().plusNanos(random.nextLong(Math.min(nanos, 1_000_000_000L)));
        }
        return Duration.ofNanos(nanos / 2 + random.nextLong(nanos / 2));
    }

    private boolean fits(Duration wait, long endsAt) {
        return policy.clock().nanoTime() + wait.toNanos() - endsAt < 0;
    }

    private void sleep(Call call, Duration wait) {
        try {
            policy.clock().sleep(wait);
        } catch (InterruptedException interrupted) {
            throw interrupted(call, interrupted);
        }
    }

    private static Unreachable interrupted(Call call, InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        return unreachable(call, interrupted);
    }

    private static Unreachable unreachable(Call call, Throwable failure) {
        return new Unreachable(call.method() + " " + call.path() + ": no answer", call.key(), failure);
    }

    private static JsonNode gatewayUnavailable(JsonNode state, Answer first) {
        return JsonNodeFactory.instance.objectNode()
            .put("type", "https://holdfast.dev/problems/gateway_unavailable")
            .put("title", "The payment gateway is unavailable")
            .put("status", 503)
            .put("reason", "gateway_unavailable")
            .put("detail", "The payment gateway could not be reached in time. Nothing was charged.")
            .put("request_id", first.headers().firstValue("x-request-id").orElse(""))
            .put("purchase_id", state.path("purchase_id").asText());
    }
}
