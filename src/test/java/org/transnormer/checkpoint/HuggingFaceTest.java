package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.PlanMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;

class HuggingFaceTest {
    private static final TinyModel SMALL = TinyModel.SMALL;
    private static final long ONE_FILE = Long.MAX_VALUE;

    @TempDir
    Path folder;
    private final TestTensors memory = new TestTensors(7);

    @AfterEach
    void free() {
        memory.close();
    }

    private Path save(HfConfig config, List<Tensor> tensors, DType dtype, long shardBytes) {
        Path model = folder.resolve("model");
        new HuggingFaceWriter(config, Part.wholes(tensors), dtype, shardBytes).save(model, temp -> {});
        return model;
    }

    private Path sharded() {
        return save(SMALL.config(), SMALL.tensors(memory, DType.F32, true), DType.F32, 1000);
    }

    private static void refused(ThrowingCallable call, String... words) {
        var thrown = assertThatExceptionOfType(InputException.class).isThrownBy(call);
        for (String word : words) {
            thrown.withMessageContaining(word);
        }
    }

    private static void refused(Path model, String... words) {
        refused(() -> HuggingFace.open(model).close(), words);
    }

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.map(p -> p.getFileName().toString()).sorted().toList();
        }
    }

    /** Poisoned tensors of the same names and shapes, to be read into. */
    private List<Tensor> blank(List<Tensor> like, DType dtype) {
        List<Tensor> blank = new ArrayList<>();
        for (Tensor t : like) {
            blank.add(memory.poisoned(t.name(), dtype, t.shape()));
        }
        return blank;
    }

    private static void same(List<Tensor> got, List<Tensor> want) {
        for (int i = 0; i < want.size(); i++) {
            for (long j = 0; j < want.get(i).size(); j++) {
                assertThat(got.get(i).getFlat(j)).as("%s at %d", want.get(i), j).isEqualTo(want.get(i).getFlat(j));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {ONE_FILE, 1000, 1})
    void modelComesBackBitByBit(long shardBytes) throws IOException {
        List<Tensor> tensors = SMALL.tensors(memory, DType.F32, true);
        Path model = save(SMALL.config(), tensors, DType.F32, shardBytes);
        assertThat(Files.exists(model.resolve(HfNames.WEIGHTS))).isEqualTo(shardBytes == ONE_FILE);
        assertThat(Files.exists(model.resolve(HfNames.INDEX))).isEqualTo(shardBytes != ONE_FILE);
        assertThat(names(folder)).containsExactly("model");
        if (shardBytes == 1) {
            assertThat(names(model)).hasSize(tensors.size() + 2).contains("model-00001-of-00015.safetensors");
        }
        try (HuggingFace read = HuggingFace.open(model)) {
            List<Tensor> back = blank(tensors, DType.F32);
            read.readInto(Part.wholes(back));
            same(back, tensors);
            assertThat(read.notes()).isEmpty();
            assertThat(read.tiedHead()).isFalse();
            assertThat(read.config().values().get("torch_dtype")).isEqualTo("float32");
            assertThat(read.config().values().get("model_type")).isEqualTo("transnormer");
        }
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"BF16", "F16"})
    void narrowFilesKeepThetaNormsAndBiasesWide(DType dtype) {
        List<Tensor> tensors = SMALL.tensors(memory, DType.F32, false);
        Path model = save(SMALL.config(), tensors, dtype, ONE_FILE);
        try (HuggingFace read = HuggingFace.open(model)) {
            for (Tensor t : tensors) {
                boolean wide = t.name().endsWith("theta") || t.name().contains("norm") || t.name().endsWith("bias");
                assertThat(read.entry(t.name()).dtype()).isEqualTo(wide ? FileDType.F32 : FileDType.of(dtype));
            }
            List<Tensor> back = blank(tensors, DType.F32);
            read.readInto(Part.wholes(back));
            same(back, tensors.stream().map(t -> memory.copy(t, HfNames.savedAs(t.name(), dtype))).toList());
            assertThat(read.tiedHead()).isTrue();
            assertThat(read.config().flag("tie_word_embeddings", false)).isTrue();
        }
    }

    @Test
    void targetsMayBePartOfAPaddedTable() {
        List<Tensor> tensors = SMALL.tensors(memory, DType.F32, false);
        Path model = save(SMALL.config(), tensors, DType.BF16, ONE_FILE);
        Tensor padded = memory.zeros(HfNames.EMBEDDING, DType.BF16, 16, SMALL.width());
        List<Tensor> back = blank(tensors, DType.BF16);
        back.set(0, padded.slice(0, 0, SMALL.vocabulary()));
        try (HuggingFace read = HuggingFace.open(model)) {
            read.readInto(Part.wholes(back));
        }
        same(back.subList(0, 1), List.of(memory.copy(tensors.getFirst(), DType.BF16)));
        assertThat(padded.get(SMALL.vocabulary(), 0)).isZero();
    }

    /** embedding and head in the file, equal or not, what the configuration says; and what follows. */
    @ParameterizedTest
    @CsvSource({"true,false,,,true,false", "true,false,,true,true,false", "false,true,,,true,false",
        "true,true,true,,true,false", "true,true,true,true,true,false", "true,true,true,false,false,false",
        "true,true,false,,false,true", "true,true,false,true,false,true", "true,true,false,false,false,false"})
    void tiedHeadFollowsTheRule(boolean embedding, boolean head, Boolean equal, Boolean says, boolean tied,
            boolean noted) {
        List<Tensor> tensors = SMALL.tensors(memory, DType.F32, true);
        Tensor table = tensors.getFirst();
        if (equal == null || equal) {
            tensors.getLast().copyFrom(table);
        }
        List<Tensor> written = new ArrayList<>(tensors);
        if (!head) {
            written.removeLast();
        }
        if (!embedding) {
            written.removeFirst();
        }
        Path model = save(SMALL.config(), written, DType.F32, ONE_FILE);
        HfConfig config = SMALL.config();
        (says == null ? config : config.with("tie_word_embeddings", says)).write(model.resolve(HfNames.CONFIG));
        try (HuggingFace read = HuggingFace.open(model)) {
            assertThat(read.tiedHead()).isEqualTo(tied);
            assertThat(read.notes()).hasSize(noted ? 1 : 0);
            List<Tensor> wanted = tied ? tensors.subList(0, tensors.size() - 1) : tensors;
            List<Tensor> back = blank(wanted, DType.F32);
            read.readInto(Part.wholes(back));
            same(back, wanted);
        }
    }

    @Test
    void missingHalfOfASeparateHeadIsRefused() {
        Path model = save(SMALL.config(), SMALL.tensors(memory, DType.F32, false), DType.F32, ONE_FILE);
        SMALL.config().with("tie_word_embeddings", false).write(model.resolve(HfNames.CONFIG));
        refused(model, "config.json", "hold only model.embed_tokens.weight", "set it to true");
    }

    /** The configuration of one size beside the weights of another, as a released model once had. */
    @Test
    void configOfAnotherModelIsExplained() {
        Path model = save(new TinyModel(11, 8, 2, 2, 12).config(),
                new TinyModel(11, 16, 3, 4, 24).tensors(memory, DType.F32, false), DType.F32, ONE_FILE);
        try (HuggingFace read = HuggingFace.open(model)) {
            refused(() -> read.readInto(Part.wholes(SMALL.tensors(memory, DType.F32, false))),
                    model.resolve("config.json").toString(),
                    "model.embed_tokens.weight: config [11, 8], file [11, 16]",
                    "model.layers.0.token_mixer.lrpe.theta: config [2, 1, 4], file [4, 1, 4]", "and 14 more",
                    "decoder_attention_heads 4 (config.json: 2)", "decoder_embed_dim 16 (config.json: 8)",
                    "decoder_layers 3 (config.json: 2)", "glu_dim 24 (config.json: 12)",
                    "hidden_dim 16 (config.json: 8)", "; take the config.json");
        }
    }

    /** Every tensor that the config asks for is there and fits; a model cut to them would be another one. */
    @Test
    void weightsWithMoreLayersAreRefused() {
        TinyModel three = new TinyModel(11, 8, 3, 2, 12);
        Path model = save(SMALL.config(), three.tensors(memory, DType.F32, false), DType.F32, ONE_FILE);
        try (HuggingFace read = HuggingFace.open(model)) {
            refused(() -> read.check(Part.wholes(SMALL.tensors(memory, DType.F32, false))),
                    "\"model.layers.2.channel_mixer.l1.weight\": not by the config, file [12, 8]",
                    "decoder_layers 3 (config.json: 2)");
        }
    }

    @Test
    void missingTensorsAreNamed() {
        List<Tensor> tensors = SMALL.tensors(memory, DType.F32, false);
        List<Tensor> less = new ArrayList<>(tensors);
        less.remove(3);
        Path model = save(SMALL.config(), less, DType.F32, ONE_FILE);
        try (HuggingFace read = HuggingFace.open(model)) {
            refused(() -> read.check(Part.wholes(tensors)),
                    "model.layers.0.token_mixer.lrpe.theta: config [2, 1, 4], not in the file",
                    "linear_use_lrpe_list [0, 0] (config.json: [1, 0])");
        }
    }

    @Test
    void checkNeedsNoMemory() {
        Path model = save(SMALL.config(), SMALL.tensors(memory, DType.F32, false), DType.F32, ONE_FILE);
        try (PlanMemory plan = new PlanMemory(); HuggingFace read = HuggingFace.open(model)) {
            read.check(Part.wholes(read.names().collect(name -> plan.allocate(MemoryKind.WEIGHTS, name, DType.BF16,
                    read.entry(name).shape().toArray()))));
        }
    }

    @Test
    void missingFilesAreNamedWithTheCure() throws IOException {
        refused(folder.resolve("none"), "does not exist", "give a folder with config.json and model.safetensors");
        refused(folder, "has no config.json; give a model folder, or the folder of a run");
        SMALL.config().write(folder.resolve("config.json"));
        refused(folder, "has neither model.safetensors nor model.safetensors.index.json");
        Files.writeString(folder.resolve("pytorch_model.bin"), "x");
        refused(folder, "safe_serialization=True");
        new SafetensorsWriter().add(memory.zeros("x", DType.F32, 1)).write(folder.resolve("model.safetensors"));
        refused(folder, "has neither model.embed_tokens.weight nor lm_head.weight");
    }

    @Test
    void missingShardsAreNamed() throws IOException {
        Path model = sharded();
        Files.delete(model.resolve("model-00002-of-00008.safetensors"));
        refused(model, "names 8 shards, 1 are missing: model-00002-of-00008.safetensors");
    }

    @Test
    void truncatedShardIsNamed() throws IOException {
        Path shard = sharded().resolve("model-00003-of-00008.safetensors");
        byte[] bytes = Files.readAllBytes(shard);
        Files.write(shard, Arrays.copyOf(bytes, bytes.length - 5));
        refused(shard.getParent(), shard.toString(), "is truncated: 5 of");
    }

    @ParameterizedTest
    @ValueSource(strings = {"../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\\\b", "C:x",
        "x\\u0000y", "~/x"})
    void shardsOutsideTheFolderAreRefused(String name) throws IOException {
        Path index = sharded().resolve(HfNames.INDEX);
        Files.writeString(index, Files.readString(index).replaceFirst("\"model-00001-of-00008.safetensors\"",
                Matcher.quoteReplacement("\"" + name + "\"")));
        refused(index.getParent(), index.toString(), "which is not the name of a file of this folder");
    }

    @Test
    void indexAndShardsMustAgree() throws IOException {
        Path index = sharded().resolve(HfNames.INDEX);
        Path model = index.getParent();
        String good = Files.readString(index);
        Files.writeString(index, good.replace("lm_head.weight", "lm_head.bias"));
        refused(model, "holds \"lm_head.weight\", which the index does not name");
        String last = "\"lm_head.weight\" : \"model-00008-of-00008.safetensors\"";
        assertThat(good).contains(last);
        Files.writeString(index, good.replace(last, last.replace("00008-of", "00001-of")));
        refused(model, "places \"lm_head.weight\" in model-00001-of-00008.safetensors, which does not hold it");
        String l2 = "l2.weight\" : \"model-0000";
        Files.writeString(index, good.replace(l2 + "4", l2 + "3"));
        refused(model, "holds \"model.layers.0.channel_mixer.l2.weight\", which the index places in model-00003-of");
        Files.writeString(index, good.replace(last, last + ", \"ghost\" : \"model-00008-of-00008.safetensors\""));
        refused(model, "places \"ghost\" in model-00008-of-00008.safetensors, which does not hold it");
        Files.writeString(index, good.replace(last, last + ", " + last));
        refused(model, "Duplicate field 'lm_head.weight'");
        Files.writeString(index, "{\"weight_map\": {}}");
        refused(model, "has no \"weight_map\"");
        Files.writeString(index, good.replaceFirst("\"total_size\" : \\d+", "\"total_size\" : 1"));
        try (HuggingFace read = HuggingFace.open(model)) {
            assertThat(read.notes()).singleElement().asString().contains("total_size of 1, the shards hold");
        }
    }

    @Test
    void tensorInTwoShardsIsRefused() throws IOException {
        Path model = sharded();
        Path shard = model.resolve("model-00001-of-00008.safetensors");
        Files.copy(model.resolve("model-00008-of-00008.safetensors"), shard,
                StandardCopyOption.REPLACE_EXISTING);
        refused(model, shard.toString(), "which the index places in model-00008-of-00008.safetensors");
    }

    @Test
    void folderInUseIsNotOverwritten() throws IOException {
        Path model = folder.resolve("model");
        Files.createDirectory(model);
        HuggingFaceWriter writer =
                new HuggingFaceWriter(SMALL.config(), Part.wholes(SMALL.tensors(memory, DType.F32, false)),
                        DType.F32, ONE_FILE);
        writer.save(model, temp -> Files.writeString(temp.resolve("tokenizer.json"), "{}"));
        assertThat(names(model)).containsExactly("config.json", "model.safetensors", "tokenizer.json");
        refused(() -> writer.save(model, temp -> {}), "is not empty", "give a new folder");
    }

    @Test
    void failureLeavesNoHalfModel() throws IOException {
        HuggingFaceWriter writer =
                new HuggingFaceWriter(SMALL.config(), Part.wholes(SMALL.tensors(memory, DType.F32, false)),
                        DType.F32, ONE_FILE);
        assertThatExceptionOfType(EnvironmentException.class)
                .isThrownBy(() -> writer.save(folder.resolve("model"), temp -> {
                    throw new IOException("No space left on device");
                })).withMessageContaining("No space left on device")
                .withMessageContaining("it needs %,d bytes".formatted(writer.bytes()));
        assertThat(names(folder)).isEmpty();
    }
}
