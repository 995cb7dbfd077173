package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.LongToDoubleFunction;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.EdgeCasesMode;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterProperty;
import net.jqwik.api.lifecycle.BeforeProperty;
import org.transnormer.adamw.AdamW;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.checkpoint.HfConfig;
import org.transnormer.checkpoint.HuggingFaceWriter;
import org.transnormer.checkpoint.RunCheckpoint;
import org.transnormer.checkpoint.RunCheckpoints;
import org.transnormer.checkpoint.RunState;
import org.transnormer.launch.Gathering;
import org.transnormer.launch.Job;
import org.transnormer.model.DataParallel;
import org.transnormer.model.DataParallel.Mode;
import org.transnormer.model.ModelConfig;
import org.transnormer.model.Parameter;
import org.transnormer.model.ReleasedConfig;
import org.transnormer.model.ShardTable;
import org.transnormer.model.Span;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.InProcess;
import org.transnormer.parallel.Layout;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.ThreadsGathering;

/**
 * What ranks of any layout write is, byte for byte, what one rank writes, and what ranks of any other layout read of it
 * is, bit for bit, what they are to have. SPEC section 6.3.
 */
class ReshardTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(60);
    private static final Place ALONE = new Place(new Layout(1, 1), Mode.REPLICATED);
    private Path temp;

    /** Ranks, and what they share. */
    record Place(Layout layout, Mode mode) {
    }

    /**
     * A model, who writes its checkpoint, and who reads it.
     *
     * @param fileBytes limit of a file, so that there are several
     */
    record Case(Place from, Place to, DType dtype, long fileBytes, long seed) {

        /** Its widths divide by the tensor ranks of both. */
        ModelConfig config() {
            int sizes = from.layout.tensor() * to.layout.tensor();
            int least = from.layout.tensor() == to.layout.tensor() ? from.layout.tensor() : sizes;
            return new ParallelCase(new Layout(1, least), Mode.REPLICATED, seed).run().config();
        }

        Precision precision() {
            return BackendKind.SCALAR.precision(dtype);
        }
    }

    @BeforeProperty
    void begin() throws IOException {
        temp = Files.createTempDirectory("reshard");
    }

    @AfterProperty
    void end() throws IOException {
        clear(temp);
    }

    private static void clear(Path folder) throws IOException {
        try (Stream<Path> all = Files.walk(folder)) {
            all.sorted((a, b) -> b.compareTo(a)).forEach(path -> {
                try {
                    Files.delete(path);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
        }
    }

    @Provide
    Arbitrary<Case> cases() {
        Arbitrary<Place> places = Combinators.combine(Arbitraries.integers().between(1, 3),
                Arbitraries.integers().between(1, 3), Arbitraries.of(Mode.class))
                .as((data, tensor, mode) -> new Place(new Layout(data, tensor), mode));
        return Combinators.combine(places, places, Arbitraries.of(DType.F64, DType.F32, DType.BF16),
                Arbitraries.of(3_000L, 5_000_000_000L), Arbitraries.longs())
                .as(Case::new).filter(c -> c.from.layout.tensor() * c.to.layout.tensor() != 6);
    }

    @Property(tries = 25, edgeCases = EdgeCasesMode.NONE)
    void anyLayoutReadsWhatAnyLayoutWrote(@ForAll("cases") Case c) throws IOException {
        Path folder = Files.createDirectory(temp.resolve("run"));
        Path[] written = {null};
        ranks(c, c.from, (gathering, rank) -> {
            rank.fill();
            Path path = rank.save(gathering, folder.resolve("ranks"), c.fileBytes);
            if (gathering.rank() == 0) {
                written[0] = path;
            }
        });
        ranks(c, ALONE, (gathering, rank) -> {
            rank.fill();
            assertSameFiles(written[0], rank.save(gathering, folder.resolve("one"), c.fileBytes));
        });
        ranks(c, c.to, (gathering, rank) -> {
            try (RunCheckpoint checkpoint = RunCheckpoint.open(written[0])) {
                checkpoint.verify(gathering);
                rank.spoil();
                checkpoint.model().readInto(Parts.kept(rank.weights));
                checkpoint.readOptimizer(Parts.kept(rank.optimizer));
                rank.check();
            }
        });
        clear(folder);
    }

    private static void assertSameFiles(Path got, Path want) {
        try (Stream<Path> all = Files.list(want)) {
            List<Path> files = all.toList();
            assertThat(got).isDirectoryContaining(path -> true);
            assertThat(got.toFile().list()).hasSameSizeAs(files);
            files.forEach(file -> assertThat(got.resolve(file.getFileName())).hasSameBinaryContentAs(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What a rank does in a test. */
    private interface Body {
        void run(Gathering gathering, Rank rank);
    }

    private static void ranks(Case c, Place place, Body body) {
        ModelConfig config = c.config();
        if (place.layout.size() == 1) {
            rank(c, config, place, Job.alone(), body);
        } else {
            InProcess.run(place.layout.size(), TIMEOUT,
                    world -> rank(c, config, place, new ThreadsGathering(world), body));
        }
    }

    private static void rank(Case c, ModelConfig config, Place place, Gathering gathering, Body body) {
        try (Backend backend = BackendKind.SCALAR.open(c.precision(), 1)) {
            Layout layout = place.layout;
            int number = gathering.rank();
            ShardTable shards = new ShardTable(config, layout.tensorRank(number), layout.tensor());
            Weights weights = new Weights(config, c.precision(), backend.memory(), true, shards,
                    DataParallel.of(place.mode, layout.data() == 1 ? Communicator.single()
                            : new Communicator.Planned(layout.dataRank(number), layout.data())));
            Optimizer optimizer = new Optimizer(backend, Communicator.single(), weights,
                    new AdamW.Constants(0.9, 0.95, 1e-8, 0), 1);
            body.run(gathering, new Rank(c, config, weights, optimizer));
        }
    }

    /** A rank's tensors, each element of which is a number made from its name and its place in the whole. */
    private record Rank(Case c, ModelConfig config, Weights weights, Optimizer optimizer) {

        Path save(Gathering gathering, Path folder, long fileBytes) {
            DType dtype = c.dtype == DType.F64 ? DType.F32 : c.dtype;
            RunState state = new RunState(3, 30, 1, "", Map.of("position", 7L), Map.of(), Map.of(), Map.of());
            return new RunCheckpoints(folder, 1).save(gathering, state, new HuggingFaceWriter(
                    HfConfig.of(ReleasedConfig.toJson(config)), Parts.written(weights), dtype, fileBytes),
                    Parts.written(optimizer, weights), path -> {
                    });
        }

        void fill() {
            each((p, prefix, held, values) -> set(values, p, prefix, held));
        }

        void spoil() {
            each((p, prefix, held, values) -> held.from(held.from()).of(values).fill(Double.NaN));
        }

        void check() {
            each((p, prefix, held, values) -> {
                for (long i = 0; i < values.size(); i++) {
                    double want = value(prefix + p.name(), values.dtype(), p, held.from() - p.offset() + i);
                    if (values.get(i) != want) {
                        assertThat(values.get(i)).as("%s%s[%d]", prefix, p.name(), i).isEqualTo(want);
                    }
                }
            });
        }

        private void set(Tensor values, Parameter p, String prefix, Span held) {
            for (long i = 0; i < values.size(); i++) {
                values.set(i, value(prefix + p.name(), values.dtype(), p, held.from() - p.offset() + i));
            }
        }

        /** What is done with the elements that this rank holds of one tensor. */
        private interface Each {
            void accept(Parameter p, String prefix, Span held, Tensor values);
        }

        private void each(Each action) {
            for (Optimizer.State s : optimizer.states()) {
                for (Parameter p : s.group().parameters()) {
                    Span kept = p.savedSpan().and(s.group().kept());
                    if (!kept.isEmpty()) {
                        action.accept(p, "", kept, s.group().kept(kept));
                    }
                    Span share = p.savedSpan().and(s.group().share());
                    if (share.isEmpty()) {
                        continue;
                    }
                    Span inShare = share.from(s.group().share().from());
                    action.accept(p, "m.", share, inShare.of(s.m()));
                    action.accept(p, "v.", share, inShare.of(s.v()));
                    if (s.master() != s.group().valueShare()) {
                        action.accept(p, "master.", share, inShare.of(s.master()));
                    }
                }
            }
        }

        /** As fine as the type can hold; F64 finer than the model's file holds. */
        private static double value(String name, DType dtype, Parameter p, long inPart) {
            long whole = p.shard().wholeIndex(inPart, p.shape());
            LongToDoubleFunction fraction =
                    bits -> (new SplittableRandom(name.hashCode() + 31 * whole).nextLong() >> 64 - bits)
                            / (double) (1L << bits);
            return fraction.applyAsDouble(switch (dtype) {
                case F64 -> 53;
                case F32 -> 24;
                default -> 8;
            });
        }
    }
}
