package dev.holdfast.client;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.holdfast.client.model.KeySet;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** Runs clients/cases.json against this client: java … Cases CASES SCRIPTED_URL DEMO_URL. */
public final class Cases {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private final JsonNode cases;
    private final List<String> wrong = new ArrayList<>();

    private Cases(JsonNode cases) {
        this.cases = cases;
    }

    public static void main(String[] arguments) throws Exception {
        Cases all = new Cases(MAPPER.readTree(Path.of(arguments[0]).toFile()));
        all.webhooks();
        all.receipts();
        all.scripted(arguments[1]);
        all.live(arguments[2]);
        all.wrong.forEach(System.out::println);
        List<String> counts = new ArrayList<>();
        for (String part : List.of("calls", "webhooks", "receipts", "live")) {
            counts.add(all.cases.path(part).size() + " " + part);
        }
        System.out.println("java: " + String.join(", ", counts) + "; " + all.wrong.size() + " wrong");
        System.exit(all.wrong.isEmpty() ? 0 : 1);
    }

    /** Time that passes only while a call waits. */
    private static final class FakeClock implements Clock {
        private final List<Double> waitsMs = new ArrayList<>();
        private long nanos;

        @Override
        public long nanoTime() {
            return nanos;
        }

        @Override
        public void sleep(Duration wait) {
            nanos += wait.toNanos();
            waitsMs.add(wait.toNanos() / 1e6);
        }
    }

    private void scripted(String url) throws Exception {
        int number = 0;
        for (JsonNode test : cases.path("calls")) {
            for (String found : played(url, number++, test)) {
                wrong.add(test.path("name").asText() + ": " + found);
            }
        }
    }

    private static List<String> played(String url, int number, JsonNode test) throws Exception {
        ask(HttpRequest.newBuilder(URI.create(url + "/_case/" + number)).POST(BodyPublishers.noBody()));
        FakeClock clock = new FakeClock();
        List<Attempt> seen = new ArrayList<>();
        JsonNode options = test.path("options");
        Policy policy = Policy.defaults()
            .withTimeout(Duration.ofMillis(options.path("timeout_ms").asLong(10_000)))
            .withRetriesMax(options.path("retries_max").asInt(4))
            .withClock(clock)
            .withObserver(seen::add);
        Calls calls = new Calls(new Shop(url, "key-of-the-cases", policy), new Admin(url, "key-of-the-cases", policy));
        List<String> found = new ArrayList<>();
        for (int i = 0; i < test.path("times").asInt(1); i++) {
            JsonNode outcome = calls.outcome(test.path("call").asText(), test.path("args"));
            differs(test.path("outcome"), outcome, "").ifPresent(found::add);
        }
        observed(seen, test).ifPresent(found::add);
        if (test.has("waits_ms") && !isWithin(clock.waitsMs, test.path("waits_ms"))) {
            found.add("waited " + clock.waitsMs + ", not " + test.path("waits_ms"));
        }
        JsonNode verdict = ask(HttpRequest.newBuilder(URI.create(url + "/_verdict")));
        verdict.path("wrong").forEach(it -> found.add(it.asText()));
        return found;
    }

    private static JsonNode ask(HttpRequest.Builder request) throws IOException, InterruptedException {
        return MAPPER.readTree(HTTP.send(request.build(), BodyHandlers.ofByteArray()).body());
    }

    private static boolean isWithin(List<Double> waits, JsonNode bounds) {
        if (waits.size() != bounds.size()) {
            return false;
        }
        for (int i = 0; i < waits.size(); i++) {
            double wait = waits.get(i);
            if (wait < bounds.path(i).path(0).asDouble() || wait > bounds.path(i).path(1).asDouble()) {
                return false;
            }
        }
        return true;
    }

    private static Optional<String> observed(List<Attempt> seen, JsonNode test) {
        if (!test.has("observed")) {
            return Optional.empty();
        }
        JsonNode first = MAPPER.valueToTree(seen.stream().limit(test.path("observed").size()).toList());
        return differs(test.path("observed"), first, "observed");
    }

    /** The steps against a demo, each with what earlier ones saved. */
    private void live(String url) {
        List<Attempt> seen = new ArrayList<>();
        Policy policy = Policy.defaults().withObserver(seen::add);
        Calls calls = new Calls(new Shop(url, "demo-shop-key", policy), new Admin(url, "demo-admin-key", policy));
        ObjectNode saved = MAPPER.createObjectNode().put("run", "java");
        for (JsonNode step : cases.path("live")) {
            seen.clear();
            JsonNode ended = calls.outcome(step.path("call").asText(), filled(step.path("args"), saved));
            Optional<String> found = differs(filled(step.path("outcome"), saved), ended, "");
            found = found.isPresent() ? found : observed(seen, step);
            if (found.isPresent()) {
                wrong.add("live: " + step.path("name").asText() + ": " + found.get());
                return;
            }
            if (step.has("save")) {
                saved.set(step.path("save").asText(), ended.has("returns") ? ended.get("returns") : ended.get("raises"));
            }
        }
    }

    private static JsonNode filled(JsonNode value, JsonNode saved) {
        if (value.isObject()) {
            ObjectNode object = MAPPER.createObjectNode();
            value.fields().forEachRemaining(it -> object.set(it.getKey(), filled(it.getValue(), saved)));
            return object;
        }
        if (value.isArray()) {
            var array = MAPPER.createArrayNode();
            value.forEach(it -> array.add(filled(it, saved)));
            return array;
        }
        String text = value.asText();
        if (!value.isTextual() || !text.contains("${")) {
            return value;
        }
        if (text.startsWith("${") && text.indexOf('}') == text.length() - 1) {
            return lookedUp(text.substring(2, text.length() - 1), saved);
        }
        int from = text.indexOf("${");
        int to = text.indexOf('}', from);
        String put = text.substring(0, from) + lookedUp(text.substring(from + 2, to), saved).asText();
        return filled(MAPPER.getNodeFactory().textNode(put + text.substring(to + 1)), saved);
    }

    private static JsonNode lookedUp(String path, JsonNode saved) {
        JsonNode value = saved;
        for (String name : path.split("\\.")) {
            value = value.path(name);
        }
        return value;
    }

    private void receipts() {
        for (JsonNode test : cases.path("receipts")) {
            ObjectNode found = MAPPER.createObjectNode();
            try {
                ReceiptKeys keys = keys(cases.path("receipt_keys").path(test.path("keys").asText()));
                byte[] text = test.path("text").asText().getBytes(StandardCharsets.UTF_8);
                found.set("verdict", Calls.shown(Receipts.verify(text, keys)));
            } catch (KeysUnread unread) {
                found.put("keys_unread", true);
            }
            judge("receipt", test, found);
        }
    }

    /** Keys as the cases write them. */
    static ReceiptKeys keys(JsonNode given) {
        ReceiptKeys keys = ReceiptKeys.NONE;
        if (given.hasNonNull("hmac")) {
            keys = keys.withSecrets(MAPPER.convertValue(given.path("hmac"), new TypeReference<>() {}));
        }
        return given.hasNonNull("jwks") ? keys.withJwks(Json.read(given.path("jwks"), KeySet.class)) : keys;
    }

    private void webhooks() {
        for (JsonNode test : cases.path("webhooks")) {
            ObjectNode found = MAPPER.createObjectNode();
            Map<String, List<String>> headers = new LinkedHashMap<>();
            test.path("headers").forEach(
                it -> headers.computeIfAbsent(it.path(0).asText(), name -> new ArrayList<>()).add(it.path(1).asText()));
            List<String> secrets = new ArrayList<>();
            test.path("secrets")
                .forEach(it -> secrets.add(cases.path("webhook_keys").path(it.asText()).asText(it.asText())));
            byte[] body = test.path("body").asText().getBytes(StandardCharsets.UTF_8);
            Duration tolerance = Duration.ofSeconds(test.path("tolerance_s").asLong(Webhooks.TOLERANCE.toSeconds()));
            Instant now = Instant.ofEpochSecond(test.path("now").asLong());
            try {
                Webhook webhook = Webhooks.verify(headers, body, secrets, tolerance, now);
                found.putObject("genuine").put("id", webhook.id()).put("timestamp", webhook.timestamp());
            } catch (WebhookRefused refused) {
                found.put("refused", refused.why().name().toLowerCase(Locale.ROOT));
            } catch (IllegalArgumentException misuse) {
                found.put("misuse", true);
            }
            judge("webhook", test, found);
        }
    }

    /** What was found must be what is expected, and nothing else. */
    private void judge(String what, JsonNode test, JsonNode found) {
        JsonNode expected = test.path("expect");
        if (differs(expected, found, "").isPresent() || differs(found, expected, "").isPresent()) {
            wrong.add(what + ", " + test.path("name").asText() + ": " + found + ", not " + expected);
        }
    }

    /** Where {@code actual} lacks something of {@code expected}; "*" is anything but null. */
    private static Optional<String> differs(JsonNode expected, JsonNode actual, String at) {
        boolean isNothing = actual == null || actual.isNull() || actual.isMissingNode();
        if (expected.isTextual() && expected.asText().equals("*")) {
            return isNothing ? Optional.of(at + " is null") : Optional.empty();
        }
        if (expected.isObject() && !isNothing && actual.isObject()) {
            for (var field : (Iterable<Map.Entry<String, JsonNode>>) expected::fields) {
                var found = differs(field.getValue(), actual.get(field.getKey()), at + "." + field.getKey());
                if (found.isPresent()) {
                    return found;
                }
            }
            return Optional.empty();
        }
        if (expected.isArray() && !isNothing && actual.size() == expected.size()) {
            for (int i = 0; i < expected.size(); i++) {
                var found = differs(expected.get(i), actual.get(i), at + "[" + i + "]");
                if (found.isPresent()) {
                    return found;
                }
            }
            return Optional.empty();
        }
        boolean isSame = expected.isNull() ? isNothing : !isNothing && isSameScalar(expected, actual);
        return isSame ? Optional.empty() : Optional.of(at + " is " + actual + ", not " + expected);
    }

    private static boolean isSameScalar(JsonNode expected, JsonNode actual) {
        return expected.isNumber() && actual.isNumber()
            ? expected.decimalValue().compareTo(actual.decimalValue()) == 0
            : expected.equals(actual);
    }
}
