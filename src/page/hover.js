// What the pointer is at, for every chart: a line through its panels and the numbers of that moment.
for (const chart of document.querySelectorAll("figure.chart")) {
    const { times, series, notes } = JSON.parse(chart.querySelector("script").textContent);
    const panels = [...chart.querySelectorAll(".panel")];
    const lines = panels.map((panel) => panel.appendChild(document.createElement("i")));
    const box = chart.appendChild(document.createElement("output"));
    const said = new Map();
    for (const [at, text] of notes) said.set(at, [...(said.get(at) ?? []), text]);
    const first = times[0], span = times[times.length - 1] - first;

    const nearest = (time) => {
        let low = 0, high = times.length - 1;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (times[middle] < time) low = middle + 1; else high = middle;
        }
        return low > 0 && time - times[low - 1] < times[low] - time ? low - 1 : low;
    };
    const number = (value, unit) =>
        Array.isArray(value) ? value.map((it) => number(it, "")).join(" to ") + unit : value + unit;
    const row = (colour, name, text) => {
        const line = document.createElement("div");
        line.append(Object.assign(document.createElement("b"), { className: "key " + colour, textContent: name }));
        line.append(" " + text);
        return line;
    };

    const show = (event) => {
        const place = panels[0].getBoundingClientRect();
        const share = Math.min(1, Math.max(0, (event.clientX - place.left) / place.width));
        const at = nearest(first + share * span);
        const left = ((times[at] - first) / span) * 100;
        for (const line of lines) line.style.left = left + "%";
        const when = new Date(times[at]).toISOString().slice(0, 16).replace("T", " ") + " UTC";
        box.replaceChildren(row("", when, ""));
        for (const { name, colour, unit, values } of series)
            if (values[at] !== null) box.append(row(colour, name, number(values[at], unit)));
        for (const text of said.get(at) ?? []) box.append(row("", text, ""));
        chart.classList.add("pointed");
        // Beside the pointer, on the side where there is room, and never beyond the chart.
        const x = (left / 100) * place.width, width = box.offsetWidth;
        const beside = left < 50 ? x + 12 : x - width - 12;
        box.style.left = Math.max(0, Math.min(place.width - width, beside)) + "px";
    };
    chart.addEventListener("pointermove", show);
    chart.addEventListener("pointerdown", show);
    chart.addEventListener("pointerleave", () => chart.classList.remove("pointed"));
}
