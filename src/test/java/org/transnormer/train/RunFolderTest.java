package org.transnormer.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.InputException;

/** Where a new run would overwrite something it is not begun. */
class RunFolderTest {
    @TempDir
    private Path temp;

    @Test
    void whatIsThereIsNotOverwritten() throws IOException {
        Path file = Files.writeString(temp.resolve("file"), "mine");
        assertThatThrownBy(() -> RunFolder.create(file, null, null)).isInstanceOf(InputException.class)
                .hasMessage(file + ": is a file, and a run is a folder; give another --out");
        assertThatThrownBy(() -> RunFolder.create(temp, null, null)).isInstanceOf(InputException.class)
                .hasMessage(
                        "%s: exists and is not empty; give another --out, or continue it with --resume %s".formatted(
                                temp, temp));
        assertThat(file).hasContent("mine");
    }
}
