package org.transnormer.cli;

import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.transnormer.backend.BackendKind;
import org.transnormer.backend.Precision;
import org.transnormer.bench.Machine;
import org.transnormer.cuda.CudaReport;

/** Figures of a benchmark with everything that they depend on, for people or as one JSON object. */
final class BenchReport extends Figures {
    private final String name;
    private final Machine machine = Machine.here();
    private final Map<String, Object> settings = new LinkedHashMap<>();

    BenchReport(String name, BenchOptions options) {
        this.name = name;
        Precision precision = options.backend().precision();
        set("backend", options.backend().kind().name().toLowerCase(Locale.ROOT));
        set("dtype", precision.describe());
        if (options.backend().kind() == BackendKind.CUDA) {
            set("gpu", CudaReport.summary());
        }
        set("threads", options.backend().threads());
        set("seconds", options.seconds());
    }

    /** What was measured. */
    BenchReport set(String key, Object value) {
        settings.put(key, value);
        return this;
    }

    void print(PrintWriter out, boolean json) {
        if (json) {
            out.println(json());
        } else {
            out.printf("%s%nmachine: %s, %d cores, %.1f GiB; %s; %d-bit vectors%njava: %s; tnl %s%nsettings: %s%n%n",
                    name, machine.processor(), machine.cores(), machine.memory() / (double) (1L << 30),
                    machine.system(), machine.vectorBits(), machine.java(), Tnl.version(), String.join(", ", settings
                            .entrySet().stream().map(e -> e.getKey() + " " + e.getValue()).toList()));
            printLines(out);
        }
        out.flush();
    }

    private String json() {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("bench", name);
        all.put("tnl", Tnl.version());
        all.put("machine", machine);
        all.put("settings", settings);
        all.put("results", results());
        return json(all);
    }
}
