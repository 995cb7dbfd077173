package org.transnormer.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** The package graph goes one way: what composes uses what it is composed of, never the reverse. */
class PackageGraphTest {
    /** From the ground up; a package uses only its own layer, without cycles, and the layers above it in this list. */
    private static final List<List<String>> LAYERS = List.of(
            List.of(""),
            List.of("tensor", "random", "simd", "parallel", "launch", "plot", "cuda"),
            List.of("activation", "adamw", "decay", "embedding", "lightning", "linear", "loss", "lrpe", "product",
                    "srmsnorm"),
            List.of("backend"),
            List.of("gla", "head", "sglu"),
            List.of("checkpoint", "data", "inference", "model", "tokenizer"),
            List.of("bench", "train", "verify"),
            List.of("plan"),
            List.of("cli"));

    @Test
    void everyPackageHasALayer() {
        assertThat(rank()).as("layers that this test lists").containsKeys(
                PackageGraph.ofSources().uses().keySet().toArray(String[]::new));
    }

    @Test
    void noPackageUsesAHigherLayer() {
        assertThat(PackageGraph.ofSources().upward(rank())).isEmpty();
    }

    @Test
    void noCycles() {
        assertThat(PackageGraph.ofSources().cycle()).isEmpty();
    }

    @Test
    void theGuardSeesImportsAndFullNamesButNotComments() {
        PackageGraph graph = new PackageGraph(new TreeMap<>());
        graph.add("tensor", "tensor/A.java", "package org.transnormer.tensor; /** {@link org.transnormer.cli.Tnl} */");
        graph.add("model", "model/B.java", "import org.transnormer.tensor.*; import org.transnormer.InputException;");
        assertThat(graph.uses().get("tensor")).isEmpty();
        assertThat(graph.uses().get("model")).containsOnlyKeys("", "tensor");
        assertThat(graph.cycle()).isEmpty();
        graph.add("tensor", "tensor/C.java", "class C { org.transnormer.loss.Loss loss; }");
        graph.add("loss", "loss/D.java", "import static org.transnormer.model.B.x;");
        assertThat(graph.cycle()).hasSize(3).contains("tensor -> loss (in tensor/C.java)");
        assertThat(graph.upward(rank())).containsExactlyInAnyOrder("tensor -> loss (in tensor/C.java)",
                "loss -> model (in loss/D.java)");
    }

    private static Map<String, Integer> rank() {
        Map<String, Integer> rank = new HashMap<>();
        for (int layer = 0; layer < LAYERS.size(); layer++) {
            for (String name : LAYERS.get(layer)) {
                rank.put(name, layer);
            }
        }
        return rank;
    }
}
