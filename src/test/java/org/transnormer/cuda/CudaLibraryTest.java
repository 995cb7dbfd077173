package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.transnormer.cuda.CudaLibrary.Attempt;

class CudaLibraryTest {
    @Test
    @EnabledOnOs(OS.LINUX)
    void saysWhatTheLinkerSays() {
        assertThat(CudaLibrary.open("libm.so.6").error()).isNull();
        assertThat(CudaLibrary.open("libnone.so.7").error()).contains("libnone.so.7", "cannot open shared object file");
    }

    @Test
    void triesTheLinkersPathFirstAndStopsWhereItFindsTheLibrary() {
        for (CudaLibrary library : CudaLibrary.values()) {
            List<Attempt> attempts = library.probe("/no/such/toolkit");
            assertThat(attempts).isNotEmpty();
            assertThat(attempts.getFirst().path()).isEqualTo(library.names().getFirst());
            assertThat(attempts.subList(0, attempts.size() - 1)).allMatch(a -> a.error() != null);
            if (attempts.getLast().error() != null) {
                assertThat(attempts).extracting(Attempt::path).containsAll(library.names())
                        .contains("/no/such/toolkit/lib64/" + library.names().getLast());
            }
        }
    }
}
