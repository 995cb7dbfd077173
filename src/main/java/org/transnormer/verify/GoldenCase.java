package org.transnormer.verify;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.eclipse.collections.api.factory.primitive.LongLists;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.transnormer.InputException;
import org.transnormer.loss.CrossEntropy;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;

/**
 * One golden case, checked: what a model is, what it was given, and what an independent implementation computed from it.
 * The files are untrusted: everything is checked against the configuration before anything is computed. SPEC section 6.5.
 */
public final class GoldenCase implements AutoCloseable {
    private static final String EMBEDDING = "model.embed_tokens.weight";
    private static final String HEAD = "lm_head.weight";
    private static final String GRADIENT = "grad.";
    private static final String MASK = "padded.attention_mask";
    static final String SLOPES = "slopes.h";
    static final String FUNCTIONS = "actfn.";
    static final String FUNCTION_INPUT = FUNCTIONS + "input";
    private static final String YARDSTICK = "native_f32.";
    /** Families of names of which a file may have no other than the layout's. */
    private static final List<String> CLOSED = List.of("model.", "lm_head.", "grad.", "act.", "act_grad.", "infer.");

    private final GoldenFiles files;
    private final HostMemory memory = new HostMemory();
    private final Map<String, Tensor> values = new LinkedHashMap<>();
    private final ModelConfig config;
    private final int[][] ids;
    private final int[][] labels;
    private final int[][] mask;
    private final int prompt;
    private final List<String> names = new ArrayList<>();
    private final List<String> notes = new ArrayList<>();
    private final PlainBf16 plainBf16;

    private GoldenCase(GoldenFiles files) {
        this.files = files;
        config = parseConfig();
        ids = integers("input_ids", null);
        labels = integers("labels", ids);
        checkTokens("input_ids", ids, false);
        checkTokens("labels", labels, true);
        checkInfo("B", ids.length);
        checkInfo("N", ids[0].length);
        prompt = parsePrompt();
        List<GoldenLayout.Item> items = layout();
        Set<GoldenLayout.Part> parts = checkShapes(items);
        boolean padded = parts.contains(GoldenLayout.Part.PADDED);
        mask = padded ? parseMask() : null;
        addTables();
        for (GoldenLayout.Item item : items) {
            if (item.part() != GoldenLayout.Part.PARAMETER && parts.contains(item.part())) {
                names.add(item.name());
            }
        }
        checkOthers(items);
        plainBf16 = PlainBf16.beside(files.paths(), names);
    }

    /**
     * Reads golden files; those of the same case are one case.
     *
     * @throws InputException naming the first thing about them that cannot be right
     */
    public static List<GoldenCase> read(List<Path> paths) {
        List<GoldenCase> cases = new ArrayList<>();
        List<GoldenFiles> opened = GoldenFiles.open(paths);
        try {
            for (GoldenFiles files : opened) {
                cases.add(new GoldenCase(files));
            }
            return List.copyOf(cases);
        } finally {
            if (cases.size() < opened.size()) {
                cases.forEach(GoldenCase::close);
                opened.forEach(GoldenFiles::close);
            }
        }
    }

    /** Its name. */
    public String name() {
        return files.name();
    }

    /** Its model. */
    public ModelConfig config() {
        return config;
    }

    /** B, number of sequences. */
    public int sequences() {
        return ids.length;
    }

    /** N, tokens of each sequence. */
    public int tokens() {
        return ids[0].length;
    }

    /** P, tokens that inference takes at once before it goes on token by token. */
    public int prompt() {
        return prompt;
    }

    /** (B, N). */
    int[][] ids() {
        return ids;
    }

    /** (B, N), not shifted: the target of token t is label t + 1. */
    int[][] labels() {
        return labels;
    }

    /** (B, N) value mask of the padded run, or null if there is none. */
    int[][] mask() {
        return mask;
    }

    /** Names of the tensors to compare, in the order of computation. */
    List<String> names() {
        return List.copyOf(names);
    }

    /** What was not compared, for people. */
    public List<String> notes() {
        return List.copyOf(notes);
    }

    /** A tensor's values in F64, read when they are first asked for. */
    synchronized Tensor value(String name) {
        return values.computeIfAbsent(name, n -> files.read(n, memory, DType.F64));
    }

    /** The same tensor from the independent implementation's own F32 run, or null. */
    Tensor yardstick(String name) {
        for (String own : List.of(YARDSTICK + name, YARDSTICK + name.replace("infer.", "infer_"))) {
            if (files.contains(own) && files.shape(own).equals(files.shape(name))) {
                return value(own);
            }
        }
        return null;
    }

    /** Errors of plain PyTorch in bf16, or null where no file beside these tells them. */
    PlainBf16 plainBf16() {
        return plainBf16;
    }

    @Override
    public void close() {
        files.close();
        memory.close();
    }

    private ModelConfig parseConfig() {
        if (files.config() == null) {
            throw files.bad("has no metadata \"config\"", "give all files of case " + files.name());
        }
        boolean tied = tied();
        if (tied) {
            shareHead();
        }
        if (!files.contains(EMBEDDING)) {
            throw files.bad("has no tensor " + EMBEDDING,
                    "give the file with the weights of case " + files.name() + " too");
        }
        ModelConfig parsed;
        try {
            parsed = ReleasedConfig.parse(files.config(), tied);
        } catch (IllegalArgumentException e) {
            throw files.bad("its config is none of a model: " + e.getMessage(), "correct the file");
        }
        expect(EMBEDDING, LongLists.immutable.of(parsed.vocabulary(), parsed.width()));
        return parsed;
    }

    /** Whether the head is the embedding: as info says, otherwise as the tensors look. */
    private boolean tied() {
        Object tied = files.info().get("tied");
        if (tied instanceof Boolean b) {
            return b;
        }
        if (tied != null) {
            throw files.bad("its info has tied %s, which is neither true nor false".formatted(tied),
                    "correct the file");
        }
        if (!files.contains(EMBEDDING) || !files.contains(HEAD)) {
            return true;
        }
        return same(EMBEDDING, HEAD) && (!files.contains(GRADIENT + HEAD) || !files.contains(GRADIENT + EMBEDDING)
                || same(GRADIENT + EMBEDDING, GRADIENT + HEAD));
    }

    private boolean same(String one, String other) {
        return files.shape(one).equals(files.shape(other))
                && value(one).segment().mismatch(value(other).segment()) < 0;
    }

    /** A tied head and its gradient stand under the embedding's name, under the head's, or under both. */
    private void shareHead() {
        for (String prefix : List.of("", GRADIENT, YARDSTICK + GRADIENT)) {
            String embedding = prefix + EMBEDDING;
            String head = prefix + HEAD;
            files.alias(embedding, head);
            if (!prefix.startsWith(YARDSTICK) && files.contains(head) && !same(embedding, head)) {
                throw files.bad("its head is tied, but %s is not %s".formatted(head, embedding), "correct the file");
            }
        }
    }

    private int parsePrompt() {
        Object p = files.info().get("P");
        if (!(p instanceof Long n) || n < 1 || n > tokens()) {
            throw files.bad("its info has P %s; 1 to %d tokens are possible".formatted(p, tokens()),
                    "correct the file");
        }
        return n.intValue();
    }

    private void checkInfo(String key, long here) {
        Object said = files.info().get(key);
        if (said != null && !said.equals(here)) {
            throw files.bad("its info has %s %s, but input_ids has %d".formatted(key, said, here), "correct the file");
        }
    }

    /** A (B, N) tensor of integers, of the shape of {@code like} if that is given. */
    private int[][] integers(String name, int[][] like) {
        ImmutableLongList shape = files.shape(name);
        if (like != null) {
            expect(name, LongLists.immutable.of(like.length, like[0].length));
        } else if (shape.size() != 2 || shape.anySatisfy(n -> n < 1 || n > Integer.MAX_VALUE)) {
            throw files.bad("its %s has shape %s, not (sequences, tokens)".formatted(name, shape), "correct the file");
        }
        Tensor t = files.read(name, memory, DType.I32);
        int[][] rows = new int[(int) shape.get(0)][(int) shape.get(1)];
        for (int b = 0; b < rows.length; b++) {
            for (int i = 0; i < rows[b].length; i++) {
                rows[b][i] = t.select(0, b).getInt(i);
            }
        }
        return rows;
    }

    private void checkTokens(String name, int[][] rows, boolean ignorable) {
        for (int b = 0; b < rows.length; b++) {
            for (int i = 0; i < rows[b].length; i++) {
                int token = rows[b][i];
                if ((token < 0 || token >= config.vocabulary()) && !(ignorable && token == CrossEntropy.IGNORE)) {
                    throw files.bad("its %s[%d, %d] is %d, which is no token of %d".formatted(name, b, i, token,
                            config.vocabulary()), "correct the file");
                }
            }
        }
    }

    /** The value mask, of any type of numbers. */
    private int[][] parseMask() {
        expect(MASK, LongLists.immutable.of(ids.length, ids[0].length));
        Tensor t = files.read(MASK, memory, files.isFloat(MASK) ? DType.F64 : DType.I32);
        int[][] rows = new int[ids.length][ids[0].length];
        for (int b = 0; b < rows.length; b++) {
            for (int i = 0; i < rows[b].length; i++) {
                long at = (long) b * rows[b].length + i;
                double m = t.getFlat(at);
                if (m != 0 && m != 1) {
                    throw files.bad("its %s[%d, %d] is %s; a mask holds 0 and 1".formatted(MASK, b, i,
                            t.dtype().isFloat() ? Double.toString(m) : Integer.toString((int) m)), "correct the file");
                }
                rows[b][i] = (int) m;
            }
        }
        return rows;
    }

    private List<GoldenLayout.Item> layout() {
        try {
            return new GoldenLayout(config, sequences(), tokens()).items();
        } catch (ArithmeticException e) {
            throw files.bad("its config describes a model that is larger than any memory", "correct the file");
        }
    }

    /** The parts that are there, complete and of the right shapes. */
    private Set<GoldenLayout.Part> checkShapes(List<GoldenLayout.Item> items) {
        Set<GoldenLayout.Part> parts = new HashSet<>();
        for (GoldenLayout.Item item : items) {
            if (item.part().required || files.contains(item.name())) {
                parts.add(item.part());
            }
        }
        for (GoldenLayout.Item item : items) {
            if (!parts.contains(item.part())) {
                continue;
            }
            if (!files.contains(item.name())) {
                throw files.bad("has no tensor %s, which its config calls for".formatted(item.name()),
                        "give all files of case " + files.name());
            }
            expect(item.name(), item.shape());
        }
        for (GoldenLayout.Part part : GoldenLayout.Part.values()) {
            if (!parts.contains(part)) {
                notes.add("not in these files, so not compared: " + part.label);
            }
        }
        return parts;
    }

    /** The tables that belong to no model: base slopes and activation functions. */
    private void addTables() {
        List<String> slopes = new ArrayList<>(files.names().stream().filter(n -> n.startsWith(SLOPES)).toList());
        for (String name : slopes) {
            String heads = name.substring(SLOPES.length());
            if (!heads.matches("[1-9][0-9]{0,4}")) {
                throw files.bad("has a tensor %s; slopes.h and a number of heads is possible".formatted(name),
                        "correct the file");
            }
            expect(name, LongLists.immutable.of(Long.parseLong(heads)));
        }
        slopes.sort(Comparator.comparingInt(String::length).thenComparing(Comparator.naturalOrder()));
        names.addAll(slopes);
        for (String name : files.names()) {
            if (name.startsWith(FUNCTIONS) && !name.equals(FUNCTION_INPUT)) {
                if (files.shape(FUNCTION_INPUT).isEmpty()) {
                    throw files.bad("its %s is a single number".formatted(FUNCTION_INPUT), "correct the file");
                }
                expect(name, files.shape(FUNCTION_INPUT));
                names.add(name);
            }
        }
    }

    /** Tensors that the configuration has no place for mean that it is the wrong one; strangers are only reported. */
    private void checkOthers(List<GoldenLayout.Item> items) {
        Set<String> known = new HashSet<>(Set.of("input_ids", "labels", HEAD, MASK, FUNCTION_INPUT));
        known.addAll(names);
        if (config.tiedHead()) {
            known.add(GRADIENT + HEAD);
        }
        items.forEach(item -> known.add(item.name()));
        List<String> strangers = new ArrayList<>();
        for (String name : files.names()) {
            if (known.contains(name) || name.startsWith(YARDSTICK)) {
                continue;
            }
            if (CLOSED.stream().anyMatch(name::startsWith)) {
                throw files.bad("has a tensor %s, which a model of its config does not have".formatted(name),
                        "correct config or tensors");
            }
            strangers.add(name);
        }
        if (!strangers.isEmpty()) {
            notes.add("unknown, so not compared: " + String.join(", ", strangers));
        }
    }

    private void expect(String name, ImmutableLongList shape) {
        if (!files.shape(name).equals(shape)) {
            throw files.bad("its %s has shape %s, but config and input_ids call for %s".formatted(name,
                    files.shape(name), shape), "correct config or tensors");
        }
    }
}
