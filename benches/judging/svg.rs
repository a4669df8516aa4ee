//! Line charts as SVG: as much as the pages in `docs` need, the same to the byte for the same numbers.

use std::fmt::{self, Write};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
/// Around the plot: left, right, above, below. The legend is on the right.
const MARGINS: [f64; 4] = [64.0, 230.0, 40.0, 52.0];
/// Between two lines of the legend, longer ones being broken.
const LEGEND_LINE: f64 = 17.0;

/// Distinguishable by people who see few colours (Okabe and Ito 2008).
pub(crate) const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444",
];

#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) is_logarithmic: bool,
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// Where a value stands, from zero to one. What is outside stands on the edge.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| {
            if self.is_logarithmic {
                value.max(1e-9).ln()
            } else {
                value
            }
        };
        let (from, to) = (scale(self.from), scale(self.to));
        ((scale(value) - from) / (to - from)).clamp(0.0, 1.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stroke {
    Solid,
    Dashed,
    /// Points that no line joins.
    Dots,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    pub(crate) stroke: Stroke,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

impl Chart {
    /// Returns the picture.
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::new();
        self.write(&mut svg)
            .expect("writing into a string does not fail");
        svg
    }

    fn x(&self, value: f64) -> f64 {
        MARGINS[0] + self.x.place(value) * (WIDTH - MARGINS[0] - MARGINS[1])
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - MARGINS[3] - self.y.place(value) * (HEIGHT - MARGINS[2] - MARGINS[3])
    }

    fn write(&self, svg: &mut String) -> fmt::Result {
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\" role=\"img\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{left}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{title}</text>",
            title = escaped(self.title),
            left = MARGINS[0],
        )?;
        self.write_axes(svg)?;
        for line in &self.lines {
            self.write_line(svg, line)?;
        }
        self.write_legend(svg)?;
        writeln!(svg, "</svg>")
    }

    fn write_axes(&self, svg: &mut String) -> fmt::Result {
        let (left, right) = (MARGINS[0], WIDTH - MARGINS[1]);
        let (top, bottom) = (MARGINS[2], HEIGHT - MARGINS[3]);
        for tick in &self.y.ticks {
            let y = self.y(*tick);
            writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                left - 8.0,
                y + 4.0
            )?;
        }
        for tick in &self.x.ticks {
            let x = self.x(*tick);
            writeln!(
                svg,
                "<path d=\"M{x:.1} {bottom}v5\" stroke=\"#222\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
                bottom + 19.0
            )?;
        }
        writeln!(
            svg,
            "<path d=\"M{left} {top}V{bottom}H{right}\" stroke=\"#222\" fill=\"none\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, right),
            HEIGHT - 12.0,
            escaped(self.x.label),
            f64::midpoint(top, bottom),
            escaped(self.y.label),
        )
    }

    fn write_line(&self, svg: &mut String, line: &Line) -> fmt::Result {
        let places = line.points.iter().map(|(x, y)| (self.x(*x), self.y(*y)));
        if line.stroke == Stroke::Dots {
            for (x, y) in places {
                let colour = line.colour;
                writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"
                )?;
            }
            return Ok(());
        }
        let places: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>",
            places.join(" "),
            line.colour,
            dashes(line.stroke)
        )
    }

    fn write_legend(&self, svg: &mut String) -> fmt::Result {
        let left = WIDTH - MARGINS[1] + 14.0;
        let mut y = MARGINS[2] + 8.0;
        for line in &self.lines {
            if line.stroke == Stroke::Dots {
                let (x, colour) = (left + 11.0, line.colour);
                writeln!(
                    svg,
                    "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>"
                )?;
            } else {
                writeln!(
                    svg,
                    "<path d=\"M{left} {y}h22\" stroke=\"{}\" stroke-width=\"2\"{}/>",
                    line.colour,
                    dashes(line.stroke)
                )?;
            }
            for part in line.name.split('\n') {
                let (x, below) = (left + 30.0, y + 4.0);
                writeln!(
                    svg,
                    "<text x=\"{x}\" y=\"{below}\">{}</text>",
                    escaped(part)
                )?;
                y += LEGEND_LINE;
            }
            y += 4.0;
        }
        Ok(())
    }
}

const fn dashes(stroke: Stroke) -> &'static str {
    match stroke {
        Stroke::Dashed => " stroke-dasharray=\"6 4\"",
        Stroke::Solid | Stroke::Dots => "",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
