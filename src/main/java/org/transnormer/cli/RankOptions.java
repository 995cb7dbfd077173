package org.transnormer.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.Writer;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.transnormer.EnvironmentException;
import org.transnormer.backend.Backend;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.CudaBackend;
import org.transnormer.cuda.Device;
import org.transnormer.cuda.NcclId;
import org.transnormer.launch.Job;
import org.transnormer.launch.LocalRanks;
import org.transnormer.launch.Rank;
import org.transnormer.launch.ToldException;
import org.transnormer.parallel.Communicator;
import org.transnormer.parallel.Layout;
import org.transnormer.parallel.Mesh;
import org.transnormer.parallel.Nccl;
import org.transnormer.parallel.Relayed;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;

/** Several processes that share the work. They are started here, or by torchrun, Slurm, Kubernetes. */
final class RankOptions {
    private static final String DEVICE = "tnl.device";
    private static final long TELLER_MILLIS = 2_000;

    /** What a process does when all are there. */
    @FunctionalInterface
    interface Work {
        int of(Job job) throws IOException;
    }

    @Option(names = {"--gpus", "--ranks"}, paramLabel = "N",
            description = "start N processes here, each with the next GPU, or on a CPU backend with its share of the cores; "
                    + "torchrun, Slurm and Kubernetes start them themselves")
    private Integer count;

    private final Map<String, String> environment = System.getenv();
    private Rank rank;

    /** Whether this process is to start the ranks, and is none itself. */
    boolean startsOthers() {
        if (count != null && count < 1) {
            throw new IllegalArgumentException("--gpus must be 1 or more, not " + count);
        }
        rank = Rank.of(environment);
        if (count == null || LocalRanks.isRank(environment)) {
            if (count != null && rank.localSize() > 0 && rank.localSize() != count) {
                throw new IllegalArgumentException(
                        "--gpus says %d, and what started this process says %d on this machine"
                                .formatted(count, rank.localSize()));
            }
            return false;
        }
        return count > 1 || rank.size() > 1;
    }

    /** Ranks that there will be, whoever starts them. */
    int planned() {
        int machines = Rank.of(environment).size();
        return count == null || LocalRanks.isRank(environment) ? machines : Math.multiplyExact(count, machines);
    }

    /** Starts the ranks, each with this process's command line, and ends as they do. */
    int start(CommandSpec spec, BackendOptions backend) throws IOException {
        if (backend.kind() == BackendKind.CUDA) {
            int there = Device.all().size();
            if (there < count) {
                throw new EnvironmentException("--gpus %d, and this machine has %d".formatted(count, there),
                        "give no more than there are");
            }
            if (System.getProperty(DEVICE) != null) {
                throw new IllegalArgumentException("--gpus takes the first GPUs: leave out -D" + DEVICE);
            }
        }
        return LocalRanks.run(count, command(spec), environment);
    }

    private static List<String> command(CommandSpec spec) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), Tnl.class.getName()));
        command.addAll(spec.root().commandLine().getParseResult().originalArgs());
        return command;
    }

    /** Meets the other ranks, if there are any, and works with them; only rank 0 shows what it does. */
    int work(CommandSpec spec, BackendOptions backend, Work work) throws IOException {
        PrintWriter err = spec.commandLine().getErr();
        if (rank.size() == 1) {
            takeDevice(backend);
            return work.of(Job.alone());
        }
        Job job = Job.join(rank, environment, Tnl.version());
        try {
            if (rank.rank() > 0) {
                spec.commandLine().setOut(new PrintWriter(Writer.nullWriter()));
                spec.commandLine().setErr(new PrintWriter(Writer.nullWriter()));
            }
            backend.shareCores(rank.localSize());
            takeDevice(backend);
            int status = work.of(job);
            job.close();
            return status;
        } catch (IOException | RuntimeException | Error e) {
            StringWriter text = new StringWriter();
            int status = Failures.report(e, new PrintWriter(text, true));
            List<String> lines = text.toString().lines().toList();
            lines.stream().skip(1).forEach(err::println);
            err.flush();
            if (e instanceof ToldException) {
                awaitTeller();
            }
            job.fail(status, lines.getFirst().replaceFirst("^tnl: ", ""));
            throw e;
        }
    }

    /** The rank that failed is to be the one that is named: the job ends meanwhile. */
    private static void awaitTeller() {
        try {
            Thread.sleep(TELLER_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** By the rank's number on this machine; where each process is shown only its own, that is the first. */
    private void takeDevice(BackendOptions backend) {
        if (rank.localRank() > 0 && System.getProperty(DEVICE) == null && backend.mayUseGpu()) {
            try {
                int there = Device.all().size();
                System.setProperty(DEVICE, Integer.toString(there == 0 ? 0 : rank.localRank() % there));
            } catch (EnvironmentException e) {
                // No driver: said when a GPU is asked for, and no matter otherwise.
            }
        }
    }

    /** This rank's place, with communicators of the backend that computes. */
    static Mesh mesh(Job job, Layout layout, Backend backend) {
        return job.size() == 1 ? Mesh.single() : Mesh.of(layout, world(job, backend));
    }

    private static Communicator world(Job job, Backend backend) {
        if (backend instanceof CudaBackend cuda) {
            byte[] id = job.broadcast("the id of NCCL", job.rank() == 0 ? NcclId.create().bytes() : new byte[0], 0);
            return Nccl.join(cuda.gpu(), NcclId.of(id), job.rank(), job.size(), job::collective);
        }
        return Relayed.of(job, job::collective);
    }

    /** All ranks share each layer: what inference does, where a model may be larger than one GPU. */
    static Communicator split(Job job, Backend backend) {
        return mesh(job, new Layout(1, job.size()), backend).tensor();
    }

    /** The largest of what the ranks have: what is decided by the memory that each finds must be the same on all. */
    static int largest(Job job, String what, int mine) {
        return job.gather(what, ByteBuffer.allocate(Integer.BYTES).putInt(mine).array()).stream()
                .mapToInt(bytes -> ByteBuffer.wrap(bytes).getInt()).max().orElseThrow();
    }

    /** Processes of the job that share this machine, as far as is known. */
    int sharers() {
        return Math.max(1, rank.localSize());
    }
}
