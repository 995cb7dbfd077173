package org.transnormer.launch;

import java.util.Map;
import org.transnormer.InputException;

/**
 * This process's place among those of a job, as whatever started them says it in the environment. SPEC section 7.4.
 *
 * @param rank 0 to size - 1
 * @param size processes of the job
 * @param localRank number among those of this machine, which decides the GPU
 * @param localSize processes of the job on this machine; 0 if the environment does not say
 * @param address host name or number of rank 0; empty in a job of one
 * @param port where rank 0 listens; 0 in a job of one
 * @param starter what started the processes
 */
public record Rank(int rank, int size, int localRank, int localSize, String address, int port, Starter starter) {

    /** What starts the processes of a job. */
    public enum Starter {
        /** Nothing: there is one process. */
        NONE("start every rank"),
        /** {@code tnl --gpus}, torchrun, or an operator of Kubernetes. */
        TORCHRUN("start every rank with the same MASTER_ADDR and MASTER_PORT"),
        SLURM("start every rank by srun");

        private final String cure;

        Starter(String cure) {
            this.cure = cure;
        }

        /** What to do when ranks are missing. */
        String cure() {
            return cure;
        }
    }

    static final String RANK = "RANK";
    static final String SIZE = "WORLD_SIZE";
    static final String LOCAL_RANK = "LOCAL_RANK";
    static final String LOCAL_SIZE = "LOCAL_WORLD_SIZE";
    static final String ADDRESS = "MASTER_ADDR";
    static final String PORT = "MASTER_PORT";
    /** Torchrun's own server has the port then. */
    static final String PORT_IN_USE = "TORCHELASTIC_USE_AGENT_STORE";
    /** Ports that follow from a job's number: below those that systems give to whoever connects. */
    static final int FIRST_PORT = 12_000;
    static final int PORTS = 20_000;
    private static final Rank ALONE = new Rank(0, 1, 0, 1, "", 0, Starter.NONE);

    /** The only process of a job. */
    public static Rank alone() {
        return ALONE;
    }

    /**
     * Reads torchrun's variables, else Slurm's; with neither, the process is alone.
     *
     * @throws InputException naming the variables that are missing or do not make sense
     */
    public static Rank of(Map<String, String> environment) {
        Variables variables = new Variables(environment);
        if (variables.hasAny(RANK, SIZE, LOCAL_RANK)) {
            return torchrun(variables);
        }
        if (variables.has("SLURM_PROCID")) {
            return slurm(variables);
        }
        if (variables.hasAny(ADDRESS, PORT)) {
            variables.require("as torchrun does, or unset all of them", RANK, SIZE, ADDRESS, PORT);
        }
        return ALONE;
    }

    private static Rank torchrun(Variables v) {
        String cure = "as torchrun does, or unset all of them";
        v.require(cure, RANK, SIZE);
        int size = v.number(SIZE, 1, Integer.MAX_VALUE);
        int rank = v.number(RANK, 0, size - 1);
        int localRank = v.has(LOCAL_RANK) ? v.number(LOCAL_RANK, 0, size - 1) : 0;
        int localSize = v.has(LOCAL_SIZE) ? v.number(LOCAL_SIZE, localRank + 1, size) : 0;
        if (size == 1) {
            return new Rank(0, 1, localRank, 1, "", 0, Starter.TORCHRUN);
        }
        v.require(cure, RANK, SIZE, ADDRESS, PORT);
        int port = v.number(PORT, 1, 65_534);
        return new Rank(rank, size, localRank, localSize, v.text(ADDRESS),
                "True".equals(v.text(PORT_IN_USE)) ? port + 1 : port, Starter.TORCHRUN);
    }

    /** A batch script is process 0 too, and where it asked for no number of tasks, none is there: it is alone. */
    private static Rank slurm(Variables v) {
        String tasks = v.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
        if (!v.has(tasks) && v.number("SLURM_PROCID", 0, Integer.MAX_VALUE) == 0) {
            return ALONE;
        }
        String cure = "as srun does, or unset SLURM_PROCID";
        v.require(cure, "SLURM_PROCID", tasks);
        int size = v.number(tasks, 1, Integer.MAX_VALUE);
        int rank = v.number("SLURM_PROCID", 0, size - 1);
        if (size == 1) {
            return ALONE;
        }
        v.require(cure, "SLURM_PROCID", tasks, "SLURM_LOCALID");
        int localRank = v.number("SLURM_LOCALID", 0, size - 1);
        String nodes = v.has("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST";
        String address = v.text(ADDRESS);
        if (!v.has(ADDRESS)) {
            v.require(cure + ", or name rank 0's host in MASTER_ADDR", "SLURM_PROCID", nodes);
            address = HostList.first(nodes, v.text(nodes));
        }
        int port;
        if (v.has(PORT)) {
            port = v.number(PORT, 1, 65_535);
        } else {
            v.require(cure + ", or choose a port in MASTER_PORT", "SLURM_PROCID", "SLURM_JOB_ID");
            int step = v.has("SLURM_STEP_ID") ? v.number("SLURM_STEP_ID", 0, Integer.MAX_VALUE) : 0;
            port = FIRST_PORT
                    + (int) (((long) v.number("SLURM_JOB_ID", 0, Integer.MAX_VALUE) + step) % PORTS);
        }
        return new Rank(rank, size, localRank, 0, address, port, Starter.SLURM);
    }

    @Override
    public String toString() {
        return "rank %d of %d".formatted(rank, size);
    }

    /** An environment; a variable without text counts as absent. */
    private record Variables(Map<String, String> environment) {

        boolean has(String name) {
            return !text(name).isEmpty();
        }

        boolean hasAny(String... names) {
            for (String name : names) {
                if (has(name)) {
                    return true;
                }
            }
            return false;
        }

        String text(String name) {
            return environment.getOrDefault(name, "").strip();
        }

        void require(String cure, String... names) {
            StringBuilder there = new StringBuilder();
            StringBuilder missing = new StringBuilder();
            for (String name : names) {
                StringBuilder list = has(name) ? there : missing;
                list.append(list.isEmpty() ? "" : ", ").append(name);
            }
            if (!missing.isEmpty()) {
                throw new InputException("the environment", "has %s but not %s".formatted(
                        there.isEmpty() ? LOCAL_RANK : there, missing), "set it " + cure);
            }
        }

        int number(String name, int least, int most) {
            try {
                int n = Integer.parseInt(text(name));
                if (n >= least && n <= most) {
                    return n;
                }
            } catch (NumberFormatException e) {
                // Said below, with the variable's name.
            }
            throw new InputException("the environment", "has %s=%s, and it must be a whole number from %d to %d"
                    .formatted(name, text(name).length() > 40 ? text(name).substring(0, 40) + "..." : text(name),
                            least, most),
                    "start every rank with the same number of ranks, each with a rank of its own");
        }
    }
}
