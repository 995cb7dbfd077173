package org.transnormer.golden;

import java.nio.file.Path;

/** The golden files of the official code. */
final class OfficialGolden {
    static final Path FOLDER = Path.of("golden-tests", "official");
    static final Path A = FOLDER.resolve("A_tiny.safetensors");
    static final Path B = FOLDER.resolve("B_heads6.safetensors");
    static final Path D = FOLDER.resolve("D_noscale_elu.safetensors");

    private OfficialGolden() {
    }
}
