"""tegrastats' line, of many boards and releases. The lines are made up in the boards' own forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.memory.tegra_line import TegraLine, read_tegra_line

MIB = 1024**2

NANO = (
    "RAM 1567/3956MB (lfb 28x4MB) SWAP 12/1978MB (cached 1MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [13%@1428,8%@1428,off,off] EMC_FREQ 0% GR3D_FREQ 7% PLL@31C CPU@33.5C PMIC@100C "
    "GPU@31.5C AO@39C thermal@32.5C POM_5V_IN 2246/2246 POM_5V_GPU 0/0 POM_5V_CPU 408/408"
)
BOARDS = {
    "Nano, JetPack 4.6": (NANO, (3956, 1567, 28, 4, 1978, 12, 7)),
    "TX1, JetPack 3": (
        (
            "RAM 2350/3983MB (lfb 17x4MB) cpu [40%,45%,32%,42%]@1734 EMC 55%@1600 APE 25 "
            "NVDEC 716 MSENC 716 GR3D 3%@76"
        ),
        (3983, 2350, 17, 4, None, None, 3),
    ),
    "TX2, JetPack 4.2": (
        (
            "RAM 3276/7859MB (lfb 5x4MB) SWAP 1626/12122MB (cached 181MB) "
            "CPU [44%@1421,off,off,17%@1420,25%@1419,8%@1420] EMC_FREQ 1%@1866 GR3D_FREQ 12%@114 "
            "APE 150 MTS fg 1% bg 1% PLL@42.5C MCPU@42.5C PMIC@50C Tboard@38C GPU@39.5C BCPU@42.5C "
            "thermal@41.3C Tdiode@39.25C VDD_SYS_GPU 182/182 VDD_4V0_WIFI 0/0 VDD_IN 5297/5297"
        ),
        (7859, 3276, 5, 4, 12122, 1626, 12),
    ),
    "Xavier NX, JetPack 4.6": (
        (
            "RAM 2894/7771MB (lfb 903x4MB) SWAP 0/3886MB (cached 0MB) "
            "CPU [5%@1190,2%@1190,off,off,off,off] EMC_FREQ 0%@1600 GR3D_FREQ 0%@114 APE 150 "
            "MTS fg 0% bg 1% AO@35C GPU@35.5C PMIC@100C AUX@35C CPU@36.5C thermal@35.6C "
            "VDD_IN 3105/3105 VDD_CPU_GPU_CV 325/325 VDD_SOC 895/895"
        ),
        (7771, 2894, 903, 4, 3886, 0, 0),
    ),
    "AGX Xavier, JetPack 5.1": (
        (
            "03-02-2025 11:21:09 RAM 4420/31002MB (lfb 5512x4MB) SWAP 0/15501MB (cached 0MB) "
            "CPU [1%@1190,0%@1190,0%@1190,0%@1190,off,off,off,off] EMC_FREQ 0%@2133 "
            "GR3D_FREQ 55%@[905] VIC_FREQ 115 APE 150 AUX@34C CPU@35.5C thermal@34.6C Tboard@34C "
            "AO@33.5C GPU@34C Tdiode@36.25C PMIC@50C GPU 0mW/0mW CPU 311mW/311mW SOC 933mW/933mW"
        ),
        (31002, 4420, 5512, 4, 15501, 0, 55),
    ),
    "Orin Nano, JetPack 5.1": (
        (
            "08-14-2024 20:02:51 RAM 2811/6480MB (lfb 31x4MB) SWAP 0/3240MB (cached 0MB) "
            "CPU [3%@1510,0%@1510,1%@1510,0%@1510,0%@1510,0%@1510] EMC_FREQ 1%@2133 "
            "GR3D_FREQ 21%@[624] VIC_FREQ 115 APE 174 CV0@-256C CPU@46.1C SOC2@45C SOC0@45.4C "
            "CV1@-256C GPU@45.9C tj@46.5C SOC1@46.5C CV2@-256C VDD_IN 5110mW/5102mW "
            "VDD_CPU_GPU_CV 1106mW/1100mW VDD_SOC 1305mW/1303mW"
        ),
        (6480, 2811, 31, 4, 3240, 0, 21),
    ),
    "Orin NX, JetPack 6": (
        (
            "05-15-2025 18:30:28 RAM 6982/15656MB (lfb 5x1MB) SWAP 2640/16384MB (cached 202MB) "
            "CPU [97%@1984,95%@1984,95%@1984,91%@1984,88%@1984,93%@247,off,off] EMC_FREQ 18%@3199 "
            "GR3D_FREQ 84%@[713] NVENC off NVDEC 40%@115 NVJPG off NVJPG1 off VIC 31%@115 OFA off "
            "NVDLA0 off PVA0_FREQ off APE 174 cv0@63.031C cpu@65.562C gpu@63.5C tj@65.562C "
            "VDD_IN 17946mW/15710mW VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW"
        ),
        (15656, 6982, 5, 1, 16384, 2640, 84),
    ),
    "AGX Orin, JetPack 6": (
        (
            "11-03-2025 07:11:40 RAM 9120/62841MB (lfb 11022x4MB) SWAP 0/31420MB (cached 0MB) "
            "CPU [1%@729,0%@729,0%@729,0%@729,off,off,off,off,off,off,off,off] "
            "EMC_FREQ 0%@2133 GR3D_FREQ 7%@[600,600] NVENC off NVDEC off APE 174 cpu@47.9C gpu@46C "
            "VDD_GPU_SOC 3175mW/3175mW VDD_CPU_CV 396mW/396mW VIN_SYS_5V0 3321mW/3321mW"
        ),
        (62841, 9120, 11022, 4, 31420, 0, 7),
    ),
    "AGX Orin, JetPack 7": (
        (
            "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201,3%@2201,off] "
            "EMC_FREQ 3%@3199 GR3D_FREQ 0%@[1300,1300] NVENC0 off NVDEC0 off APE 174 "
            "cpu@52.968C/52.968C gpu@49.1C/49.3C"
        ),
        (62817, 20642, 1, 2, None, None, 0),
    ),
    "AGX Thor, JetPack 7": (
        (
            "02-11-2026 14:00:01 RAM 7231/125772MB (lfb 25601x4MB) SWAP 0/0MB (cached 0MB) "
            "CPU [0%@972,1%@972,0%@972,0%@972,0%@972,0%@972,off,off] EMC_FREQ 0%@4266 "
            "GR3D_FREQ @[600,600,0] NVENC0 off NVENC1 off NVDEC0 off APE 300 cpu@41.2C tj@42.8C "
            "gpu@42.8C VDD_GPU 4012mW/4012mW VDD_CPU_SOC_MSS 7203mW/7203mW VIN_SYS_5V0 50mW/50mW"
        ),
        (125772, 7231, 25601, 4, 0, 0, None),
    ),
    "AGX Thor, JetPack 7, no GPU field": (
        (
            "02-11-2026 14:00:02 RAM 7231/125772MB (lfb 900x4MB) CPU [0%@972,off] EMC_FREQ 0%@4266 "
            "gpu@62.906C/63.0C VDD_GPU 4012mW/4012mW"
        ),
        (125772, 7231, 900, 4, None, None, None),
    ),
}


@pytest.mark.parametrize("board", BOARDS)
def test_the_memory_of_each_board_is_read(board):
    text, (total, used, blocks, block, swap_total, swap_used, load) = BOARDS[board]
    line = read_tegra_line(text + "\n")
    assert (line.total_bytes, line.used_bytes) == (total * MIB, used * MIB)
    assert (line.blocks, line.block_bytes) == (blocks, block * MIB)
    assert line.in_largest_blocks_bytes == blocks * block * MIB
    assert line.swap_total_bytes == (None if swap_total is None else swap_total * MIB)
    assert line.swap_used_bytes == (None if swap_used is None else swap_used * MIB)
    assert line.gpu_load_percent == load


@pytest.mark.parametrize(
    ("field", "load"),
    [
        ("GR3D_FREQ 7%@300", 7),
        ("GR3D_FREQ @[600,600,0]", None),
        ("GR3D_FREQ 7%@[600,600]", 7),
        ("GR3D_FREQ 55%@[600]", 55),
        ("GR3D_FREQ 7%", 7),
        ("GR3D_FREQ 0%", 0),
        ("GR3D_FREQ N/A", None),
        ("GR3D_FREQ", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("date", ["", "01-02-2026 03:04:05 "])
def test_an_unknown_gpu_load_is_none_and_never_0(field, load, date):
    line = read_tegra_line(f"{date}RAM 2111/7777MB (lfb 3x2MB) CPU [1%@729,off] {field} APE 174")
    assert (line.total_bytes, line.used_bytes) == (7777 * MIB, 2111 * MIB)
    assert line.in_largest_blocks_bytes == 6 * MIB
    assert line.gpu_load_percent == load


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "tegrastats: command not found",
        "RAM",
        "RAM 2111/",
        "RAM 2111/7777",
        "RAM 2111/77",
        "RAM N/A/7777MB",
        "RAM -5/7777MB",
        "RAM 2111/7777XB",
        "RAM 9000/7777MB (lfb 3x2MB)",
        "RAM 0/0MB (lfb 0x4MB)",
        "IRAM 0/252kB(lfb 252kB)",
        "RAM ٣/٤MB",
    ],
)
def test_a_line_without_memory_says_nothing(text):
    assert read_tegra_line(text) is None


@pytest.mark.parametrize("rest", ["", " (lfb", " (lfb 3x", " (lfb xMB)", " (lfb 3x2QB)", " odd"])
def test_an_odd_field_does_not_void_the_line(rest):
    line = read_tegra_line(f"RAM 2111/7777MB{rest}")
    assert line == TegraLine(total_bytes=7777 * MIB, used_bytes=2111 * MIB)


def test_units_are_powers_of_1024():
    assert read_tegra_line("RAM 1/2GB").total_bytes == 2 * 1024**3
    assert read_tegra_line("RAM 100/200kB").used_bytes == 100 * 1024


@given(st.sampled_from([text for text, _ in BOARDS.values()]), st.integers(0, 400))
def test_a_line_cut_anywhere_says_the_truth_or_less(text, length):
    whole, cut = read_tegra_line(text), read_tegra_line(text[:length])
    if cut is not None:
        for name in TegraLine.__slots__:
            assert getattr(cut, name) in {None, getattr(whole, name)}, name


@given(st.text() | st.from_regex(r"RAM [0-9]+/[0-9]+MB \(lfb [0-9]+x[0-9]+MB\).*"))
def test_no_text_breaks_the_reading(text):
    line = read_tegra_line(text)
    assert line is None or 0 <= line.used_bytes <= line.total_bytes
