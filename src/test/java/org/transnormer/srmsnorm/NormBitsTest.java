package org.transnormer.srmsnorm;

import net.jqwik.api.Example;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.SameBits;
import org.transnormer.testing.Values;

/** The vector twins of all norms give the same bits at any vector width, interpreted or compiled. */
class NormBitsTest {
    @Example
    void bitsAreTheSameEverywhere() {
        SameBits.assertEverywhere(NormBitsTest.class, compute());
    }

    public static void main(String[] args) {
        System.out.print(compute());
    }

    private static String compute() {
        StringBuilder lines = new StringBuilder();
        try (Workers workers = new Workers(1); HostMemory memory = new HostMemory()) {
            Workspace workspace = new Workspace(memory);
            for (boolean with : new boolean[] {false, true}) {
                NormCase c = new NormCase(with ? 66 : 3, with ? 37 : 301, 3, with, !with, Values.NORMAL, 5);
                lines.append(
                        NormVectorContract.checksums(c, NormType.SRMSNORM, new SrmsNormVector(workers), DType.F32));
                lines.append(NormVectorContract.checksums(c, NormType.RMSNORM, new RmsNormVector(workers, workspace),
                        DType.F32));
                lines.append(NormVectorContract.checksums(c, NormType.LAYERNORM,
                        new LayerNormVector(workers, workspace), DType.F64));
            }
        }
        return lines.toString();
    }
}
