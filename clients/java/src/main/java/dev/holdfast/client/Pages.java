package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayDeque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Queue;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/** The entries of a list; a page is read when it is needed. */
final class Pages<T> extends Spliterators.AbstractSpliterator<T> {
    private final Caller caller;
    private final String path;
    private final String field;
    private final Class<T> type;
    private final Map<String, Object> query;
    private final Queue<T> entries = new ArrayDeque<>();
    private boolean isLast;

    private Pages(Caller caller, String path, String field, Class<T> type, Map<String, ?> query) {
        super(Long.MAX_VALUE, Spliterator.ORDERED | Spliterator.NONNULL);
        this.caller = caller;
        this.path = path;
        this.field = field;
        this.type = type;
        this.query = new LinkedHashMap<>(query);
    }

    static <T> Stream<T> stream(Caller caller, String path, String field, Class<T> type, Map<String, ?> query) {
        return StreamSupport.stream(new Pages<>(caller, path, field, type, query), false);
    }

    @Override
    public boolean tryAdvance(Consumer<? super T> action) {
        while (entries.isEmpty()) {
            if (isLast) {
                return false;
            }
            JsonNode page = caller.call(Call.get(path + Call.query(query))).body().orElseThrow();
            page.path(field).forEach(entry -> entries.add(Json.read(entry, type)));
            isLast = !page.path("next").isTextual();
            query.put("after", page.path("next").asText());
        }
        action.accept(entries.remove());
        return true;
    }
}
